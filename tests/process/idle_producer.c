/* idle_producer.c: a producer allocates, hands everything to a consumer that frees it, and then
 * only sleeps. What was its memory must come back although it does nothing, by malloc_trim() and by
 * nothing else.
 *
 * env: SPANGC_RELEASE_DELAY=10m
 */
#include "tests/process/process.h"

#include <malloc.h>
#include <pthread.h>

enum { NBLOCKS = 400000 };

static char *block[NBLOCKS];
static pthread_barrier_t turn;

static void *producer(void *unused)
{
	for (size_t i = 0; i < NBLOCKS; i++) {
		size_t nbytes = i % 16 * 20 + 16;
		CHECK((block[i] = malloc(nbytes)) != NULL);
		memset(block[i], 1, nbytes);
	}
	pthread_barrier_wait(&turn);            /* all is made */
	pthread_barrier_wait(&turn);            /* the test is over */
	return unused;
}

/* malloc_trim() leaves out a heap that another thread looks at in that moment, as a collection does. */
static size_t trimmed_bytes(size_t enough)
{
	for (unsigned i = 0; i < 100 && rss_bytes() > enough; i++) {
		usleep(10000);
		malloc_trim(0);
	}
	return rss_bytes();
}

int main(void)
{
	pthread_t t;
	size_t before, full, after;

	watchdog(100);
	pthread_barrier_init(&turn, NULL, 2);
	memset(block, 0, sizeof block);
	before = rss_bytes();
	CHECK(pthread_create(&t, NULL, producer, NULL) == 0);
	pthread_barrier_wait(&turn);
	full = rss_bytes();
	for (size_t i = 0; i < NBLOCKS; i++)
		free(block[i]);
	CHECK(malloc_trim(0) == 1);
	after = trimmed_bytes((full + before) / 2);
	printf("RSS %zu KiB, full %zu KiB, trimmed %zu KiB\n", before / KIB(1), full / KIB(1),
	       after / KIB(1));
	CHECKF(after - before < (full - before) / 10, "RSS %zu, full %zu, after %zu", before,
	       full, after);
	pthread_barrier_wait(&turn);
	CHECK(pthread_join(t, NULL) == 0);
	return 0;
}
