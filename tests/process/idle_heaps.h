/* idle_heaps.h: a program whose heap is large and nearly all free.
 *
 * Eight threads, one after the other, allocate 40 MiB in blocks of a size of their own, free all
 * but one in 64, and idle: 5 MiB are live in the end and 45 at most, but what is free is spread over
 * eight threads, or arenas, and lies between blocks.
 */
#ifndef TESTS_PROCESS_IDLE_HEAPS_H
#define TESTS_PROCESS_IDLE_HEAPS_H

#include "tests/process/process.h"

#include <pthread.h>
#include <sys/mman.h>

enum { HEAPS = 8, HEAP_BYTES = 40 << 20, KEPT = 64 };

static struct {
	pthread_mutex_t lock;
	pthread_cond_t  changed;
	size_t          turn;
	size_t          peak;                   /* RSS, at the moments of looking */
} heaps = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0 };

static void look(void)
{
	size_t now = rss_bytes();

	if (now > heaps.peak)
		heaps.peak = now;
}

static void fill_and_free(size_t nbytes)
{
	size_t n = HEAP_BYTES / nbytes;
	char **block = mmap(NULL, n * sizeof *block, PROT_READ | PROT_WRITE,
	                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(block != MAP_FAILED);
	for (size_t i = 0; i < n; i++) {
		CHECK((block[i] = hide(malloc(nbytes))) != NULL);
		memset(block[i], 1, nbytes);
		if (i % (n / 8) == 0)
			look();
	}
	for (size_t i = 0; i < n; i++) {
		if (i % KEPT)
			free(block[i]);
	}
	look();
}

static void *idle_heap(void *number)
{
	size_t i = (size_t)number;

	pthread_mutex_lock(&heaps.lock);
	while (heaps.turn != i)
		pthread_cond_wait(&heaps.changed, &heaps.lock);
	fill_and_free(600 + 250 * i);
	heaps.turn++;
	pthread_cond_broadcast(&heaps.changed);
	while (heaps.turn < HEAPS)
		pthread_cond_wait(&heaps.changed, &heaps.lock);
	pthread_mutex_unlock(&heaps.lock);
	return NULL;
}

/* The most that was resident. */
static inline size_t run_idle_heaps(void)
{
	pthread_t t[HEAPS];

	for (size_t i = 0; i < HEAPS; i++)
		CHECK(pthread_create(&t[i], NULL, idle_heap, (void *)i) == 0);
	for (size_t i = 0; i < HEAPS; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	return heaps.peak;
}

#endif
