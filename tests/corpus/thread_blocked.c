/* thread_blocked.c: a thread that blocks every signal holds a block in its frame.
 *
 * leaks: none
 */
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
	sigset_t all;

	(void)unused;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	in_a_frame();
	return NULL;
}

int main(void)
{
	start_thread(body);
	return 0;
}
