/* double_free_at_once.c: two threads free the same block at the same moment:
 * it is noticed at the latest when their caches pass it on.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: (double free of 0x[0-9a-f]+ in free\(\)|invalid free of 0x[0-9a-f]+ in free\(\): free memory.*)
 */
#include "tests/victims/victims.h"

#include <pthread.h>

static char *block;
static pthread_barrier_t both;

static void *free_and_flush(void *unused)
{
	static __thread char *own[1000];

	for (size_t i = 0; i < COUNT(own); i++)
		own[i] = hide(malloc(48));
	pthread_barrier_wait(&both);
	free(hide(block));
	for (size_t i = 0; i < COUNT(own); i++)
		free(own[i]);
	return unused;
}

int main(void)
{
	pthread_t b;

	CHECK(pthread_barrier_init(&both, NULL, 2) == 0);
	block = hide(malloc(48));
	misuse_of(block);
	CHECK(pthread_create(&b, NULL, free_and_flush, NULL) == 0);
	free_and_flush(NULL);
	CHECK(pthread_join(b, NULL) == 0);
	return survived();
}
