/* scavenge.c: memory goes back to the kernel while threads use the heap.
 *
 * One thread is the helper, one trims all the time, the others allocate, fill, check and free, so
 * that pages and parts of spans are discarded right beside blocks in use: a block that loses its
 * contents is seen by its pattern, one that is in two hands by ThreadSanitizer as well.
 */
#include "tests/check.h"
#include "tests/core.h"

#define NTHREADS 3
#define ROUNDS 6000
#define NLIVE 200

static _Atomic bool is_over;
static uint64_t seed;

struct held {
	void  *p;
	size_t nbytes, tag;
};

static void drop(struct held *h)
{
	if (!h->p)
		return;
	CHECKF(pattern_holds(h->p, h->nbytes, h->tag), "%p, %zu bytes", h->p, h->nbytes);
	cache_free(h->p);
	h->p = NULL;
}

static void *work(void *arg)
{
	uint64_t random = seed + (uintptr_t)arg * 31;
	struct held held[NLIVE] = { { NULL, 0, 0 } };

	for (size_t i = 0; i < ROUNDS; i++) {
		struct held *h = &held[next_random(&random) % NLIVE];

		drop(h);
		h->nbytes = i % 64 ? random_size(&random) : MIB(1);
		h->tag = i;
		h->p = core_malloc(h->nbytes);
		CHECK(h->p);
		pattern_fill(h->p, h->nbytes, h->tag);
		if (i % 1500 == 0)
			for (int j = 0; j < NLIVE; j++)
				drop(&held[j]);
	}
	for (int j = 0; j < NLIVE; j++)
		drop(&held[j]);
	cache_detach();
	return NULL;
}

static bool start_helper(const void *caller)
{
	(void)caller;
	helper_failed();               /* ours below is asked for by hand */
	return true;
}

static void *trim(void *arg)
{
	/* relaxed: ends some time. */
	while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
		cache_empty_own();
		scavenge_all();
		sleep_ms(2);
	}
	cache_detach();
	return arg;
}

static void *help(void *arg)
{
	while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
		scavenge_help();
		sleep_ms(1);
	}
	return arg;
}

static void run(enum knob_madvise how)
{
	pthread_t threads[NTHREADS], trimmer, helper;

	knobs.madvise = how;
	atomic_store_explicit(&is_over, false, memory_order_relaxed);
	CHECK(pthread_create(&trimmer, NULL, trim, NULL) == 0);
	CHECK(pthread_create(&helper, NULL, help, NULL) == 0);
	for (uintptr_t i = 0; i < NTHREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
	for (int i = 0; i < NTHREADS; i++)
		pthread_join(threads[i], NULL);
	atomic_store_explicit(&is_over, true, memory_order_relaxed);
	pthread_join(trimmer, NULL);
	pthread_join(helper, NULL);
	CHECK(core_returns_all_pages());
}

int main(void)
{
	watchdog(300);
	seed = seed_from_env();
	knobs.release_delay_ms = 20;
	hooks.start_helper = start_helper;
	core_start();
	run(KNOB_MADVISE_DONTNEED);
	run(KNOB_MADVISE_FREE);
	return 0;
}
