/* exit_in_thread.c: another thread calls exit(); main waits, and holds a block in its frame.
 *
 * leaks: direct 64/1 lose
 */
#include "tests/corpus/corpus.h"

static NOINLINE void lose(void)
{
	block(64);
}

static void *body(void *unused)
{
	(void)unused;
	while (sem_wait(&thread_is_ready) != 0)
		;
	apart(lose);
	exit(0);
}

static NOINLINE void in_a_frame(pthread_t thread)
{
	void *volatile held = block_alone(480);

	is_ready();
	pthread_join(thread, NULL);
	hide(held);
}

int main(void)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, body, NULL) == 0);
	in_a_frame(thread);
	return 1;
}
