/* fork_threads.c: a thread holds a block in its frame; in the child that thread does not exist, but
 * its stack does, and what it points to is the parent's business: no leak is told.
 *
 * leaks: none
 * child: none
 */
#include <sys/wait.h>

#include "tests/corpus/corpus.h"

static NOINLINE void in_a_frame(void)
{
	void *volatile held = block_alone(48);

	is_ready();
	sleep_forever();
	hide(held);
}

static void *body(void *unused)
{
	(void)unused;
	in_a_frame();
	return NULL;
}

int main(void)
{
	int status;
	pid_t pid;

	start_thread(body);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		exit(0);
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return 0;
}
