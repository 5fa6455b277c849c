/* stack_of_thread.c: a local array of a thread that is not the first.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): stack address.*
 */
#include "tests/victims/victims.h"

#include <pthread.h>

static void *free_local(void *unused)
{
	_Alignas(16) char local[64] = { 0 };
	char *p = hide(local);

	misuse_of(p);
	free(p);
	return unused;
}

int main(void)
{
	pthread_t t;

	CHECK(pthread_create(&t, NULL, free_local, NULL) == 0);
	CHECK(pthread_join(t, NULL) == 0);
	return survived();
}
