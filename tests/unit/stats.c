/* stats.c: the numbers of a quiet heap add up to the byte and follow what the program holds; those
 * of a busy one are never beyond what there is.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/cache.h"
#include "core/heap.h"
#include "core/hooks.h"
#include "core/knobs.h"
#include "core/large.h"
#include "core/scavenge.h"
#include "core/stats.h"

#define BLOCKS 3000
#define STEPS 60000
#define CHURNERS 3

struct hooks hooks;

static struct stats st;

static void start(void)
{
	cr_assert(heap_init());
	cache_init();
}

static void start_with_8(void)
{
	knobs.min_align = KNOB_MIN_ALIGN_8;
	start();
}

static void *alloc(size_t nbytes)
{
	if (nbytes > SIZECLASS_MAX)
		return large_alloc(nbytes, 1);
	return cache_alloc_class(sizeclass_of_in(heap.classes, nbytes));
}

static void add_up(void)
{
	stats_collect(&st);
	cr_assert_eq(stats_sum(&st), st.heap_bytes, "%zu of %zu", (size_t)stats_sum(&st),
	             (size_t)st.heap_bytes);
	for (unsigned c = 1; c < SIZECLASS_LARGE; c++) {
		const struct stats_class *sc = &st.class[c];

		cr_assert_eq(sc->nused + sc->nmagazine + sc->ncurrent + sc->npartial + sc->nremote,
		             stats_slots(&st, c), "class %u", c);
	}
}

static uint64_t seed_from_env(void)
{
	const char *text = getenv("SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);

	printf("SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	return seed * 2 + 1;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static size_t random_size(uint64_t *state)
{
	uint64_t r = next_random(state);
	unsigned shift = (unsigned)(r % 100 < 80 ? 9 : r % 100 < 98 ? 14 : 18);

	return (size_t)((r >> 8) % ((uint64_t)1 << shift)) + 1;
}

/* What the program holds, by the model. */
struct model {
	void    *block[BLOCKS];
	size_t   nbytes[BLOCKS];
	uint64_t nslots[SIZECLASS_NALL];
	uint64_t nlarge, large_bytes;
};

static void note(struct model *m, size_t nbytes, bool is_new)
{
	uint64_t n = is_new ? 1 : UINT64_MAX;

	if (nbytes > SIZECLASS_MAX) {
		m->nlarge += n;
		m->large_bytes += n * align_up(nbytes, PAGE_BYTES);
	} else {
		m->nslots[sizeclass_of_in(heap.classes, nbytes)] += n;
	}
}

static void step(struct model *m, uint64_t *state)
{
	size_t i = next_random(state) % BLOCKS;

	if (m->block[i]) {
		cache_free(m->block[i]);
		m->block[i] = NULL;
		note(m, m->nbytes[i], false);
		return;
	}
	m->nbytes[i] = random_size(state);
	m->block[i] = alloc(m->nbytes[i]);
	cr_assert(m->block[i]);
	note(m, m->nbytes[i], true);
}

static void agree(const struct model *m)
{
	add_up();
	for (unsigned c = 1; c < SIZECLASS_LARGE; c++)
		cr_assert_eq(st.class[c].nused, m->nslots[c], "class %u: %zu, not %zu", c,
		             (size_t)st.class[c].nused, (size_t)m->nslots[c]);
	cr_assert_eq(st.nlarge, m->nlarge);
	cr_assert_eq(st.large_bytes, m->large_bytes);
}

static void random_history(void)
{
	static struct model m;
	uint64_t state = seed_from_env();

	for (unsigned i = 0; i < STEPS; i++) {
		step(&m, &state);
		if (i % 500 == 0)
			agree(&m);
		if (i % 20000 == 0)
			scavenge_all();
	}
	agree(&m);
}

Test(stats, an_empty_heap_has_nothing, .init = start)
{
	add_up();
	cr_assert_eq(st.heap_bytes, 0);
	cr_assert_leq(st.nrecords, 16, "made with the first tables");
	cr_assert(st.reserved_bytes > 0 && st.metadata_bytes <= KIB(256));
}

Test(stats, a_random_history_agrees_with_a_model, .init = start)
{
	random_history();
}

Test(stats, a_random_history_agrees_with_8_byte_slots_too, .init = start_with_8)
{
	random_history();
}

Test(stats, the_slots_of_a_new_span_are_in_the_magazine_and_the_window, .init = start)
{
	class_idx c = sizeclass_of(100);

	cr_assert(alloc(100));
	add_up();
	cr_assert_eq(st.class[c].nspans, 1);
	cr_assert_eq(st.class[c].nused, 1);
	cr_assert_gt(st.class[c].nmagazine, 0);
	cr_assert_eq(st.class[c].ncurrent, stats_slots(&st, c) - 1 - st.class[c].nmagazine);
	cr_assert_eq(st.class[c].npartial, 0);
	cr_assert_eq(st.used_bytes, heap.classes->class[c].slot_bytes);
	cr_assert_eq(st.ncaches, 1);
	cr_assert_eq(st.ncaches_used, 1);
}

Test(stats, the_tail_of_each_span_is_waste, .init = start)
{
	class_idx c = sizeclass_of(900);

	cr_assert(alloc(900));
	add_up();
	cr_assert_eq(st.tail_bytes, heap.classes->class[c].npages * PAGE_BYTES
	             - (size_t)heap.classes->class[c].nslots * heap.classes->class[c].slot_bytes);
	cr_assert_gt(st.tail_bytes, 0);
}

static void *free_all(void *blocks)
{
	void **block = blocks;

	for (unsigned i = 0; i < BLOCKS; i++)
		cache_free(block[i]);
	cache_detach();
	return NULL;
}

Test(stats, frees_of_a_stranger_are_remote_until_they_are_collected, .init = start)
{
	static void *block[BLOCKS];
	class_idx c = sizeclass_of(64);
	pthread_t t;

	for (unsigned i = 0; i < BLOCKS; i++)
		block[i] = alloc(64);
	cr_assert_eq(pthread_create(&t, NULL, free_all, block), 0);
	cr_assert_eq(pthread_join(t, NULL), 0);
	add_up();
	cr_assert_eq(st.class[c].nused, 0);
	cr_assert_eq(st.class[c].nremote, BLOCKS);
	cr_assert_gt(st.nnews, 0);
	cr_assert_eq(st.ncaches, 2);
	cr_assert_eq(st.ncaches_used, 1);
	scavenge_all();
	add_up();
	cr_assert_eq(st.class[c].nremote, 0);
}

Test(stats, pages_are_untouched_then_dirty_then_released, .init = start)
{
	void *p = alloc(MIB(32));

	add_up();
	cr_assert_eq(st.released_bytes, 0);
	cr_assert_eq(st.large_bytes, MIB(32));
	cache_free(p);
	add_up();
	cr_assert_eq(st.released_bytes, 0);
	cr_assert_geq(st.dirty_bytes, MIB(32));
	scavenge_all();
	add_up();
	cr_assert_geq(st.released_bytes, MIB(32));
	cr_assert_lt(st.dirty_bytes, MIB(1));
	cr_assert_geq(st.peak_bytes, MIB(32));
	cr_assert_geq(st.dontneed.ncalls, 1);
	cr_assert_geq(st.dontneed.nbytes, MIB(32));
}

Test(stats, pages_used_again_are_counted, .init = start)
{
	cache_free(alloc(MIB(32)));
	scavenge_all();
	add_up();
	cr_assert_eq(st.reused_bytes, 0);
	cr_assert_gt(st.madvise_ns, 0);
	alloc(MIB(4));
	add_up();
	cr_assert_eq(st.reused_bytes, MIB(4));
	cr_assert_lt(st.untouched_bytes, MIB(8));
}

Test(stats, lazily_freed_pages_are_told_apart, .init = start)
{
	knobs.madvise = KNOB_MADVISE_FREE;
	cache_free(alloc(MIB(32)));
	scavenge_all();
	add_up();
	if (!st.lazy.ncalls)
		return;                                 /* not on this kernel */
	cr_assert_geq(st.lazy_bytes, MIB(32));
	cr_assert_eq(st.released_bytes, 0);
}

Test(stats, a_block_that_grew_by_moving_is_counted, .init = start)
{
	void *p = alloc(MIB(1));

	cr_assert(alloc(MIB(1)));                       /* in the way */
	p = large_resize(p, MIB(8));
	cr_assert(p);
	add_up();
	cr_assert_eq(st.nlarge, 2);
	cr_assert_eq(st.nlarge_moved, 1);
	cr_assert_eq(st.large_bytes, MIB(9));
}

static _Atomic bool is_over;

static void *churn(void *arg)
{
	static struct model models[CHURNERS];
	uint64_t state = (uintptr_t)arg * 2 + 1;

	/* relaxed: late is as good. */
	while (!atomic_load_explicit(&is_over, memory_order_relaxed))
		step(&models[(uintptr_t)arg], &state);
	cache_detach();
	return NULL;
}

static void is_sane(void)
{
	stats_collect(&st);
	cr_assert_leq(st.used_bytes, st.reserved_bytes);
	cr_assert_leq(st.large_bytes, st.reserved_bytes);
	cr_assert_leq(st.released_bytes, st.heap_bytes);
	cr_assert_leq(st.dirty_bytes, st.reserved_bytes);
	cr_assert_leq(stats_sum(&st), 3 * st.heap_bytes + MIB(1));
	for (unsigned c = 1; c < SIZECLASS_LARGE; c++) {
		const struct stats_class *sc = &st.class[c];

		cr_assert_eq(sc->nused + sc->nmagazine + sc->ncurrent + sc->npartial + sc->nremote,
		             stats_slots(&st, c), "class %u", c);
	}
}

Test(stats, figures_of_a_busy_heap_never_underflow, .init = start)
{
	pthread_t t[CHURNERS];

	for (uintptr_t i = 0; i < CHURNERS; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, churn, (void *)i), 0);
	for (unsigned i = 0; i < 1000; i++)
		is_sane();
	atomic_store_explicit(&is_over, true, memory_order_relaxed);
	for (unsigned i = 0; i < CHURNERS; i++)
		cr_assert_eq(pthread_join(t[i], NULL), 0);
	add_up();
}
