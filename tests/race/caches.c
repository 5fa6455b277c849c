/* caches.c: threads come and go while others free what they left, and somebody looks at all.
 *
 * Each short thread takes over a dead one's cache, or makes one, allocates, leaves blocks on a
 * shelf for others to free, frees some of others', and ends. A visitor counts what is in the
 * magazines and harvests meanwhile. Then blocks are freed by two threads at the same instant: each
 * pair of frees must be noticed at the latest when the magazines are emptied.
 */
#include "tests/check.h"
#include "tests/core.h"

#define NLINES 3                                /* of threads, one after the other */
#define NLIVES 150
#define NBLOCKS 400
#define NSHELVES 1024
#define NPAIRS 300

static void *_Atomic shelf[NSHELVES];
static _Atomic bool is_over;
static uint64_t seed;

static void *live(void *arg)
{
	uint64_t random = seed + (uintptr_t)arg;
	const size_t sizes[] = { 16, 48, 128, 512, 4096 };

	for (int i = 0; i < NBLOCKS; i++) {
		int *p = core_malloc(sizes[next_random(&random) % COUNT(sizes)]);

		CHECK(p);
		*p = i;                         /* plain: a slot in two hands is a race */
		/* acq_rel: the contents go with the block. */
		p = atomic_exchange_explicit(&shelf[next_random(&random) % NSHELVES], p,
		                             memory_order_acq_rel);
		if (p) {
			*p = -1;
			cache_free(p);
		}
	}
	cache_detach();
	return NULL;
}

static void *line(void *arg)
{
	for (uintptr_t i = 0; i < NLIVES; i++)
		core_in_thread(live, (void *)((uintptr_t)arg * NLIVES + i));
	return NULL;
}

static void look(struct cache *k, void *arg)
{
	for (class_idx c = 1; c < SIZECLASS_LARGE; c++)
		*(size_t *)arg += magazine_count_slots(k, c);
	spanset_harvest(&k->spans);
	spanset_verify(&k->spans);
}

static void *visit(void *arg)
{
	size_t nslots = 0;

	/* relaxed: ends some time. */
	while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
		cache_visit(look, &nslots);
		central_tidy(false);
		sleep_ms(1);
	}
	return arg;
}

static void threads_come_and_go(void)
{
	pthread_t lines[NLINES], visitor;

	CHECK(pthread_create(&visitor, NULL, visit, NULL) == 0);
	for (uintptr_t i = 0; i < NLINES; i++)
		CHECK(pthread_create(&lines[i], NULL, line, (void *)i) == 0);
	for (int i = 0; i < NLINES; i++)
		pthread_join(lines[i], NULL);
	/* relaxed: as above. */
	atomic_store_explicit(&is_over, true, memory_order_relaxed);
	pthread_join(visitor, NULL);
	for (int i = 0; i < NSHELVES; i++)
		cache_free(shelf[i]);
	CHECK(core_returns_all_pages());
}

/* --- two frees of one block at the same instant --- */

static pthread_barrier_t both;
static void *_Atomic victim;
static _Atomic unsigned nreports;

/* What misuse says goes to a pipe; the lines are counted. */
static void *count_reports(void *reader)
{
	char got[4096];
	ssize_t n;

	while ((n = read((int)(intptr_t)reader, got, sizeof got)) > 0)
		for (ssize_t i = 0; i < n; i++)
			nreports += got[i] == '\n';
	return NULL;
}

static void *free_too(void *arg)
{
	for (int i = 0; i < NPAIRS; i++) {
		pthread_barrier_wait(&both);
		cache_free(atomic_load_explicit(&victim, memory_order_acquire));
		pthread_barrier_wait(&both);
		cache_empty_own();
		scavenge_all();
		pthread_barrier_wait(&both);
	}
	cache_detach();
	return arg;
}

/* Allocates a block, frees it as the other thread does, and empties both threads' magazines. */
static void free_at_once(void)
{
	void *p = cache_alloc(48);

	/* release: the other thread frees it. */
	atomic_store_explicit(&victim, p, memory_order_release);
	pthread_barrier_wait(&both);
	cache_free(p);
	pthread_barrier_wait(&both);
	cache_empty_own();
	scavenge_all();
	pthread_barrier_wait(&both);
	scavenge_all();
	cache_free(cache_alloc(30000));         /* a slow call says what was found */
	cache_empty_own();
}

static void pairs_of_frees_are_noticed(void)
{
	int ends[2], stderr_copy = dup(2);
	pthread_t other, reader;
	void *keep = cache_alloc(48);           /* the span stays in use */

	knobs.misuse = KNOB_MISUSE_WARN;
	CHECK(pipe(ends) == 0 && dup2(ends[1], 2) == 2);
	close(ends[1]);
	pthread_barrier_init(&both, NULL, 2);
	CHECK(pthread_create(&reader, NULL, count_reports, (void *)(intptr_t)ends[0]) == 0);
	CHECK(pthread_create(&other, NULL, free_too, NULL) == 0);
	for (int i = 0; i < NPAIRS; i++)
		free_at_once();
	pthread_join(other, NULL);
	dup2(stderr_copy, 2);
	pthread_join(reader, NULL);
	cache_free(keep);
	CHECKF(nreports == NPAIRS, "%u of %u", nreports, NPAIRS);
}

int main(void)
{
	watchdog(300);
	seed = seed_from_env();
	core_start();
	threads_come_and_go();
	pairs_of_frees_are_noticed();
	return 0;
}
