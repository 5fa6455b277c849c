/* thread_ended_stale.c: a thread ended and left the pointer in a frame of its stack, which libc
 * keeps for the next thread: no longer anybody's.
 *
 * leaks: direct 48/1 lose
 */
#include "tests/corpus/corpus.h"

static NOINLINE void lose(void)
{
	void *volatile held[64];

	for (int i = 0; i < 64; i++)
		held[i] = NULL;
	held[32] = block(48);
	hide((void *)(uintptr_t)held);
}

static void *body(void *unused)
{
	(void)unused;
	lose();
	return NULL;
}

int main(void)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, body, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	return 0;
}
