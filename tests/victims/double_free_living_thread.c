/* double_free_living_thread.c: B frees A's block and lives on with it in its cache, then
 * A frees it.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: double free of 0x[0-9a-f]+ in free\(\)
 * variants: SIZE=16 | SIZE=48 | SIZE=1032 | SIZE=32768
 */
#include "tests/victims/victims.h"

#include <pthread.h>

static char *block;
static pthread_barrier_t freed;

static void *free_and_stay(void *unused)
{
	free(hide(block));
	pthread_barrier_wait(&freed);
	pause();
	return unused;
}

int main(void)
{
	pthread_t b;

	CHECK(pthread_barrier_init(&freed, NULL, 2) == 0);
	block = hide(malloc(victim_size(48)));
	CHECK(pthread_create(&b, NULL, free_and_stay, NULL) == 0);
	pthread_barrier_wait(&freed);
	misuse_of(block);
	free(block);
	return survived();
}
