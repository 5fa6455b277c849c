/* double_free_other_thread.c: A frees its block, then B frees it: B does not own the span. B is
 * there before: making a thread allocates, and might be given the same memory.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: double free of 0x[0-9a-f]+ in free\(\)
 * variants: SIZE=16 | SIZE=48 | SIZE=1032 | SIZE=32768 | SIZE=200000 | SIZE=3000000
 */
#include "tests/victims/victims.h"

#include <pthread.h>

static char *block;
static pthread_barrier_t freed;

static void *wait_and_free(void *unused)
{
	pthread_barrier_wait(&freed);
	free(hide(block));
	return unused;
}

int main(void)
{
	pthread_t b;

	CHECK(pthread_barrier_init(&freed, NULL, 2) == 0);
	block = hide(malloc(victim_size(48)));
	CHECK(pthread_create(&b, NULL, wait_and_free, NULL) == 0);
	free(block);
	misuse_of(block);
	pthread_barrier_wait(&freed);
	CHECK(pthread_join(b, NULL) == 0);
	return survived();
}
