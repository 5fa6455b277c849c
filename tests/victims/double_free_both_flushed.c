/* double_free_both_flushed.c: A and B free the same block, then each frees 1,000 more, so that both
 * caches have passed it on.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: (double free of 0x[0-9a-f]+ in free\(\)|invalid free of 0x[0-9a-f]+ in free\(\): free memory.*)
 */
#include "tests/victims/victims.h"

#include <pthread.h>

static char *mine[1000], *theirs[1000];

static void free_all(char **block)
{
	for (size_t i = 0; i < COUNT(mine); i++)
		free(hide(block[i]));
}

static void *free_theirs(void *unused)
{
	free_all(theirs);
	return unused;
}

int main(void)
{
	pthread_t b;

	for (size_t i = 0; i < COUNT(mine); i++) {
		mine[i] = hide(malloc(48));
		theirs[i] = hide(malloc(48));
	}
	misuse_of(mine[0]);
	free_all(mine);
	theirs[0] = mine[0];
	CHECK(pthread_create(&b, NULL, free_theirs, NULL) == 0);
	CHECK(pthread_join(b, NULL) == 0);
	return survived();
}
