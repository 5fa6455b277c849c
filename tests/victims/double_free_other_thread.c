/* double_free_other_thread.c: A frees its block, then B frees it: B does not own the span.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: double free of 0x[0-9a-f]+ in free\(\)
 * variants: SIZE=16 | SIZE=48 | SIZE=1032 | SIZE=32768 | SIZE=200000 | SIZE=3000000
 */
#include "tests/victims/victims.h"

#include <pthread.h>

static char *block;

static void *free_it(void *unused)
{
	free(hide(block));
	return unused;
}

int main(void)
{
	pthread_t b;

	block = hide(malloc(victim_size(48)));
	free(block);
	misuse_of(block);
	CHECK(pthread_create(&b, NULL, free_it, NULL) == 0);
	CHECK(pthread_join(b, NULL) == 0);
	return survived();
}
