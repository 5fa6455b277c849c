/* cache.c: a thread's cache: its first calls, its stop, blocks of any sort, use inside handlers. */
#include <criterion/criterion.h>

#include "tests/unit/cache.h"

/* --- the first allocation, the stop --- */

static int nattached;

static void attached_and_allocates(void)
{
	nattached++;
	blocks[1] = cache_alloc(BYTES);
}

Test(cache, the_first_allocation_attaches_and_the_hook_may_allocate, .init = core_start)
{
	hooks.thread_attached = attached_and_allocates;
	cr_assert_null(cache_tls.cache);
	blocks[0] = cache_alloc(BYTES);
	cr_assert_not_null(blocks[0]);
	cr_assert_not_null(blocks[1]);
	cr_assert_neq(blocks[0], blocks[1]);
	blocks[2] = cache_alloc(100);
	cr_assert_eq(nattached, 1);
	cr_assert_eq(cache_tls.mags, &cache_tls.cache->mags);
}

Test(cache, the_first_allocation_starts_everything)
{
	hooks.start = core_start;
	cr_assert_not_null(cache_alloc(1));
}

Test(cache, without_a_heap_there_is_nothing)
{
	cr_assert_null(cache_alloc(1));
	cr_assert_not(cache_is_started());
	cr_assert_null(cache_alloc_class(3));
}

Test(cache, a_free_may_be_a_threads_first_call, .init = core_start)
{
	fill(0, 1, BYTES);
	core_in_thread(free_and_detach, blocks[0]);
	cr_assert_eq(granule(blocks[0]), 0);
}

Test(cache, after_the_stop_blocks_can_still_be_freed, .init = core_start)
{
	fill(0, 100, BYTES);
	cache_stop();
	cr_assert_null(cache_alloc(BYTES));
	cr_assert_null(cache_alloc_class(3));
	drain(0, 100);
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(granule(blocks[i]), 0);
}

/* --- blocks --- */

Test(cache, a_block_has_its_class_written_down_while_allocated, .init = core_start)
{
	for (size_t nbytes = 0; nbytes <= SIZECLASS_MAX; nbytes += 1 + nbytes / 16) {
		void *p = cache_alloc(nbytes);
		class_idx c = granule(p);

		cr_assert_eq(c, sizeclass_of(nbytes));
		cr_assert_eq(heap_span((uintptr_t)p)->class, c);
		cr_assert_geq(heap_span((uintptr_t)p)->slot_bytes, nbytes);
		cr_assert_eq((uintptr_t)p % 16, 0);
		memset(p, 1, nbytes);
		cache_free(p);
		cr_assert_eq(granule(p), 0);
	}
}

Test(cache, null_is_freed_in_silence, .init = core_start)
{
	cache_free(NULL);
	fill(0, 1, BYTES);
	cache_free(NULL);
}

Test(cache, scanned_and_unscanned_blocks_share_no_span, .init = core_start)
{
	class_idx c = sizeclass_of(BYTES);
	void *p = cache_alloc(BYTES), *q = cache_alloc_class(sizeclass_noscan(c));

	cr_assert_eq(granule(q), sizeclass_noscan(c));
	cr_assert_neq(heap_span((uintptr_t)p), heap_span((uintptr_t)q));
	cr_assert(sizeclass_is_noscan(heap_span((uintptr_t)q)->class));
	cache_free(p);
	cache_free(q);
	cr_assert(core_returns_all_pages());
}

Test(cache, without_memory_allocation_fails_and_later_works, .init = core_start)
{
	unsigned n = 0;
	void *p;

	fill(0, 10, 32768);
	core_refuse_memory(true);
	while ((p = cache_alloc(1000)) && n < 5000)
		blocks[100 + n++] = p;
	core_refuse_memory(false);
	cr_assert_null(p);
	core_verify();
	blocks[99] = cache_alloc(1000);
	cr_assert_not_null(blocks[99]);
	for (unsigned i = 99; i < 100 + n; i++)
		cache_free(blocks[i]);
	drain(0, 10);
	cr_assert(core_returns_all_pages());
}

Test(cache, a_thread_that_gets_no_cache_still_allocates, .init = core_start)
{
	void *p, *q;

	p = central_alloc(3);                   /* 1 MiB, tables and 256 KiB of records are there */
	while (meta_alloc(KIB(4), 64) && meta_bytes() < MIB(1))
		;
	core_refuse_memory(true);
	while (meta_alloc(KIB(4), 64))
		;
	q = cache_alloc(BYTES);
	core_refuse_memory(false);
	cr_assert_not_null(p);
	cr_assert_not_null(q);
	cr_assert_null(cache_tls.cache);
	cache_free(q);
	cr_assert_eq(granule(q), 0);
	cr_assert_not_null(cache_alloc(BYTES));
	cr_assert_not_null(cache_tls.cache, "the next call may");
}

Test(cache, eight_byte_slots_work_without_the_hot_path, .init = core_start_min8)
{
	for (int round = 0; round < 2; round++) {
		fill(0, 3000, 8);
		cr_assert_eq(heap_span((uintptr_t)blocks[0])->slot_bytes, 8);
		cr_assert_eq(cache_tls.mags, &cache_dummy);
		drain(0, 3000);
	}
	fill(0, 3000, 24);
	core_verify();
	drain(0, 3000);
	cr_assert(core_returns_all_pages());
}

/* --- nested use: as a signal handler that interrupted malloc or free --- */

static void nested(struct magazines **hand)
{
	size_t before;

	fill(0, 100, BYTES);
	before = slots_of(BYTES);

	struct magazines *m = cache_enter(hand);

	fill(100, 1000, BYTES);                 /* drain() finds any that is there twice */
	drain(50, 100);
	drain(500, 1000);
	cr_assert_eq(*hand, &cache_dummy);
	cr_assert_null(cache_lock_spans());
	cache_leave(hand, m);
	cr_assert_eq(slots_of(BYTES), before, "the magazine was left alone");
	fill(500, 1500, BYTES);
	drain(0, 50);
	drain(100, 1500);
	cr_assert(core_returns_all_pages());
}

Test(cache, a_handler_inside_malloc_gets_blocks_of_its_own, .init = core_start)
{
	nested(&cache_tls.mags);
}

Test(cache, a_handler_inside_malloc_gets_eight_byte_blocks_too, .init = core_start_min8)
{
	nested(&cache_tls.cold_mags);
}

Test(cache, a_handler_inside_malloc_may_use_large_blocks, .init = core_start)
{
	fill(0, 1, BYTES);

	struct magazines *m = cache_enter(&cache_tls.mags);
	void *p = core_malloc(KIB(100));

	p = large_resize(p, KIB(500));
	cr_assert_not_null(p);
	cache_free(p);
	cache_leave(&cache_tls.mags, m);
	drain(0, 1);
	cr_assert(core_returns_all_pages());
}

Test(cache, a_handler_may_come_while_the_lock_of_the_spans_is_held, .init = core_start)
{
	fill(0, 1, BYTES);

	struct spanset *set = cache_lock_spans();

	cr_assert_eq(set, &cache_tls.cache->spans);
	fill(1, 500, BYTES);
	drain(1, 500);
	scavenge_all();
	cache_unlock_spans(set);
	drain(0, 1);
	cr_assert(core_returns_all_pages());
}

static void *is_interrupted_in_its_first_free(void *p)
{
	struct magazines *m = cache_enter(&cache_tls.mags);     /* free() begins ... */
	void *q = cache_alloc(BYTES);                           /* the handler: attaches */

	cache_free_slow(m, granule(p), p, NULL);                /* ... and goes on */

	bool is_as_usual = cache_tls.mags == &cache_tls.cache->mags;

	cache_free(q);
	cache_detach();
	return is_as_usual ? p : NULL;
}

Test(cache, a_handler_inside_a_threads_first_free_may_attach, .init = core_start)
{
	fill(0, 1, BYTES);
	cr_assert_eq(core_in_thread(is_interrupted_in_its_first_free, blocks[0]), blocks[0]);
	cr_assert(core_returns_all_pages());
}
