/* depot.c: a thread's full magazines: what is kept, what is learnt, what comes back. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/core.h"

#define BYTES 64
#define FEW 1000                                /* 64 KB: a depot takes them */
#define MANY 20000                              /* 1.3 MB: none does */

static void *blocks[MANY];

static struct depot *depot(void)
{
	return &cache_tls.cache->depot;
}

static struct depot_class *of(size_t nbytes)
{
	return &depot()->class[sizeclass_of_in(heap.classes, nbytes)];
}

static void fill(unsigned n, size_t nbytes)
{
	for (unsigned i = 0; i < n; i++) {
		blocks[i] = cache_alloc(nbytes);
		cr_assert_not_null(blocks[i]);
		memset(blocks[i], 0, nbytes);
		memcpy(blocks[i], &i, sizeof i);
	}
}

/* A number that is another's means that two blocks were one. */
static void drain(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		cr_assert_eq(memcmp(blocks[i], &i, sizeof i), 0, "block %u", i);
		cache_free(blocks[i]);
	}
	depot_verify(depot(), magazine_depot_nbytes);
	core_verify();
}

static void cycle(unsigned nrounds, unsigned n, size_t nbytes)
{
	while (nrounds--) {
		fill(n, nbytes);
		drain(n);
	}
}

/* Slots of the class that are free in the thread's current span: changes with every batch. */
static unsigned free_in_span(size_t nbytes)
{
	return cache_tls.cache->spans.current[sizeclass_of_in(heap.classes, nbytes)]->nfree;
}

Test(depot, what_was_missed_once_is_kept_the_next_time, .init = core_start)
{
	cycle(1, FEW, BYTES);
	cr_assert_eq(of(BYTES)->nfull, 0, "nothing is known yet");
	cycle(3, FEW, BYTES);
	cr_assert_gt(of(BYTES)->nfull, FEW / 127 / 2);

	unsigned before = free_in_span(BYTES);

	cycle(10, FEW, BYTES);
	cr_assert_eq(free_in_span(BYTES), before, "no slot went to a span or came from one");
}

Test(depot, every_class_has_its_own, .init = core_start)
{
	for (size_t nbytes = 16; nbytes <= 4096; nbytes *= 2)
		cycle(4, (unsigned)(KIB(60) / nbytes), nbytes);
	for (size_t nbytes = 16; nbytes <= 4096; nbytes *= 2)
		cr_assert_gt(of(nbytes)->nfull, 0, "%zu bytes", nbytes);
	cr_assert_eq(of(48)->nfull, 0);
	cache_empty_own();
	cr_assert_eq(depot()->nbytes, 0);
	cr_assert(core_returns_all_pages());
}

Test(depot, what_was_missed_beyond_it_is_added, .init = core_start)
{
	cycle(4, FEW / 2, BYTES);
	cycle(4, FEW, BYTES);

	unsigned before = free_in_span(BYTES);

	cycle(10, FEW, BYTES);
	cr_assert_eq(free_in_span(BYTES), before);
}

Test(depot, using_it_is_not_being_idle, .init = core_start)
{
	cycle(4, FEW, BYTES);

	uint32_t before = cache_tls.cache->spans.nuses;

	cycle(1, FEW, BYTES);
	cr_assert_geq(cache_tls.cache->spans.nuses - before, 2 * of(BYTES)->nfull);
}

/* Frees ten blocks and allocates ten, some times; how often a magazine was exchanged. */
static unsigned exchanges(void **ten)
{
	unsigned n = 0;

	for (unsigned round = 0; round < 10; round++) {
		uint16_t before = of(BYTES)->nfull;

		for (unsigned i = 0; i < 10; i++)
			cache_free(ten[i]);
		n += of(BYTES)->nfull != before;
		for (unsigned i = 0; i < 10; i++)
			ten[i] = cache_alloc(BYTES);
	}
	return n;
}

Test(depot, a_few_frees_and_as_many_allocations_exchange_no_magazine, .init = core_start)
{
	unsigned n = 0;

	cycle(4, FEW, BYTES);
	fill(FEW, BYTES);
	for (unsigned i = 10; i < FEW; i++) {           /* wherever the magazine's end is */
		n += exchanges(blocks);
		cache_free(blocks[i]);
	}
	cr_assert_leq(n, 2 * FEW / 100);
}

Test(depot, a_set_that_is_too_large_is_not_kept, .init = core_start)
{
	cycle(4, MANY, BYTES);
	cr_assert_eq(of(BYTES)->nfull, 0);
	cr_assert_eq(of(BYTES)->limit, 0);
}

Test(depot, who_frees_more_than_ever_gives_up_all, .init = core_start)
{
	cycle(4, FEW, BYTES);
	cr_assert_gt(of(BYTES)->nfull, 0);
	fill(MANY, BYTES);
	drain(MANY);
	cr_assert_eq(of(BYTES)->nfull, 0);
	cr_assert_eq(depot()->nbytes, 0);
}

Test(depot, all_classes_together_have_a_limit, .init = core_start)
{
	for (unsigned c = 1; c < SIZECLASS_LARGE; c++) {
		size_t slot_bytes = heap.classes->class[c].slot_bytes;
		unsigned n = slot_bytes ? (unsigned)(KIB(90) / slot_bytes) : 0;

		for (unsigned round = 0; round < 6; round++) {
			for (unsigned i = 0; i < n; i++)
				blocks[i] = cache_alloc_class((class_idx)c);
			for (unsigned i = 0; i < n; i++)
				cache_free(blocks[i]);
		}
	}
	depot_verify(depot(), magazine_depot_nbytes);
	cr_assert_leq(depot()->nbytes, DEPOT_BYTES);
	cr_assert_gt(depot()->nbytes, DEPOT_BYTES / 2);
}

Test(depot, its_slots_are_counted_and_given_back_when_the_thread_idles, .init = core_start)
{
	class_idx c = sizeclass_of(BYTES);

	cycle(4, FEW, BYTES);
	cr_assert_gt(magazine_count_slots(cache_tls.cache, c), FEW / 2);
	scavenge_all();
	cr_assert_eq(depot()->nbytes, 0);
	cr_assert_leq(magazine_count_slots(cache_tls.cache, c), 127);
}

/* From now on there is no memory for magazines. */
static void use_up_blocks(void)
{
	core_refuse_memory(true);
	while (meta_alloc(KIB(4), 64))
		;
	while (depot_block(depot()))
		;
}

static void *allocate(void *arg)
{
	*(void **)arg = cache_alloc(BYTES);
	cache_detach();
	return NULL;
}

Test(depot, without_memory_for_a_first_magazine_free_does_without, .init = core_start)
{
	void *p = NULL;

	cache_free(cache_alloc(2 * BYTES));
	core_in_thread(allocate, &p);
	use_up_blocks();
	cache_free(p);
	cr_assert_eq(cache_tls.cache->cap[sizeclass_of(BYTES)], 0);
	p = cache_alloc(3 * BYTES);
	cr_assert_not_null(p, "there are pages in the heap");
	cr_assert_eq(cache_tls.cache->cap[sizeclass_of(3 * BYTES)], 0);
	cache_free(p);
	core_refuse_memory(false);
	cr_assert_not_null(cache_alloc(3 * BYTES));
	core_verify();
}

Test(depot, without_memory_for_magazines_the_spans_take_the_slots, .init = core_start)
{
	cycle(1, FEW, BYTES);
	fill(FEW, BYTES);
	use_up_blocks();
	drain(FEW);
	core_refuse_memory(false);
	cr_assert_eq(of(BYTES)->nfull, 0);
	cycle(2, FEW, BYTES);
	cr_assert_gt(of(BYTES)->nfull, 0, "later there is some");
}

static void start_without_delay(void)
{
	knobs.release_delay_ms = 0;
	core_start();
}

Test(depot, where_nothing_may_wait_there_is_none, .init = start_without_delay)
{
	cycle(4, FEW, BYTES);
	cr_assert_eq(depot()->nbytes, 0);
}

static void *cycle_and_end(void *arg)
{
	cycle(4, FEW, BYTES);
	*(struct cache **)arg = cache_tls.cache;
	cr_assert_gt(depot()->nbytes, 0);
	cache_detach();
	return NULL;
}

Test(depot, a_thread_that_ends_leaves_nothing_in_it, .init = core_start)
{
	struct cache *k = NULL;

	core_in_thread(cycle_and_end, &k);
	cr_assert_eq(k->depot.nbytes, 0);
	cr_assert(core_returns_all_pages());
}
