/* idle_depots.c: many threads that keep a little each, in depots and spans, and idle: it goes back.
 *
 * env: SPANGC_RELEASE_DELAY=200ms
 */
#include "tests/process/process.h"

#include <pthread.h>

enum { NTHREADS = 32, NSIZES = 30, BYTES_EACH = 90000 };

static pthread_barrier_t all_are_idle;

static void batch(size_t nbytes)
{
	static _Thread_local void *blocks[BYTES_EACH / 16];
	size_t n = BYTES_EACH / nbytes;

	for (size_t i = 0; i < n; i++)
		memset(blocks[i] = hide(malloc(nbytes)), 1, nbytes);
	for (size_t i = 0; i < n; i++)
		free(blocks[i]);
}

static void *work_and_idle(void *arg)
{
	for (int round = 0; round < 6; round++) {
		for (size_t k = 1; k <= NSIZES; k++)
			batch(16 * k);
	}
	pthread_barrier_wait(&all_are_idle);
	pause();
	return arg;
}

int main(void)
{
	size_t before = rss_bytes(), now = SIZE_MAX;
	pthread_t thread;

	pthread_barrier_init(&all_are_idle, NULL, NTHREADS + 1);
	for (int i = 0; i < NTHREADS; i++)
		CHECK(pthread_create(&thread, NULL, work_and_idle, NULL) == 0);
	pthread_barrier_wait(&all_are_idle);
	/* Of 70 MB. Magazines in use stay: 32 threads with some 10 KiB each, on as many os pages. */
	for (unsigned i = 0; i < 1200 && now > before + MIB(40); i++) {
		sleep_ms(50);
		now = rss_bytes();
	}
	CHECKF(now <= before + MIB(40), "%zu, before %zu", now, before);
	return 0;
}
