/* fork_child.c: the child has what its parent had lost before, and a leak of its own.
 *
 * leaks: direct 48/1 of_parent; direct 80/1 after_fork
 * child: direct 48/1 of_parent; direct 640/1 of_child
 */
#include <sys/wait.h>

#include "tests/corpus/corpus.h"

static NOINLINE void of_parent(void)
{
	block(48);
}

static NOINLINE void after_fork(void)
{
	block(80);
}

static NOINLINE void of_child(void)
{
	block(640);
}

int main(void)
{
	int status;
	pid_t pid;

	apart(of_parent);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		apart(of_child);
		exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	apart(after_fork);
	return 0;
}
