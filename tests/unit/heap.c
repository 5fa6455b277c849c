/* heap.c: pages and tables: growth, runs, what stands at an address, and refusals. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

#include "tests/core.h"

#define ARENA_PAGES (ARENA_BYTES / PAGE_BYTES)

static struct run run;
static struct pages_cache cache;

static void give(page_idx first, page_idx npages)
{
	heap_give_pages(NULL, first, npages, PAGES_DIRTY);
}

static page_idx take(page_idx npages)
{
	cr_assert(core_take_pages(NULL, npages, 1, &run));
	return run.first;
}

static size_t heap_bytes(void)
{
	return atomic_load_explicit(&heap.nbytes, memory_order_relaxed);
}

static size_t hot_granules(void)
{
	return atomic_load_explicit(&heap.hot_granules, memory_order_relaxed);
}

/* --- start and growth --- */

Test(heap, begins_with_nothing, .init = core_start)
{
	cr_assert_eq(heap_bytes(), 0);
	cr_assert_eq(hot_granules(), 0);
	cr_assert_not(heap_contains(heap.base));
	cr_assert_null(heap_span_any(heap.base));
	cr_assert_null(heap_span_any(0));
	cr_assert_eq(heap.base % ARENA_BYTES, 0);
}

Test(heap, the_first_page_makes_a_mebibyte, .init = core_start)
{
	cr_assert_eq(take(1), 0);
	cr_assert_eq(run.npages, 1);
	cr_assert_eq(run.nclean, 1);
	cr_assert_eq(heap_bytes(), MIB(1));
	cr_assert_eq(hot_granules(), MIB(1) / 16);
	cr_assert(heap_contains(heap.base + MIB(1) - 1));
	cr_assert_not(heap_contains(heap.base + MIB(1)));
}

Test(heap, granules_of_8_bytes_keep_the_hot_path_out, .init = core_start_min8)
{
	take(1);
	cr_assert_eq(hot_granules(), 0);
	cr_assert_eq(heap_granule(heap.base + 8) - heap_granule(heap.base), 1);
}

Test(heap, granules_stand_for_16_bytes, .init = core_start)
{
	take(1);
	cr_assert_eq(heap_granule(heap.base + 16) - heap_granule(heap.base), 1);
	cr_assert_eq(heap_granule(heap.base), heap.granules);
}

Test(heap, all_it_grows_by_can_be_written, .init = core_start)
{
	static const page_idx sizes[] = { 1, 127, 128, 129, 1000, 9000, 20000 };

	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		char *p = (char *)heap_address(take(sizes[i]));

		cr_assert_eq(run.npages, sizes[i]);
		cr_assert_eq(run.nclean, sizes[i]);
		for (page_idx page = 0; page < sizes[i]; page++) {
			cr_assert_eq(p[page * PAGE_BYTES], 0);
			p[page * PAGE_BYTES] = 1;
		}
		atomic_store_explicit(heap_granule((uintptr_t)p + sizes[i] * PAGE_BYTES - 16), 1,
		                      memory_order_relaxed);
		cr_assert_eq(heap_bytes() % MIB(1), 0);
		core_verify();
	}
}

Test(heap, growth_uses_the_free_tail, .init = core_start)
{
	take(100);
	cr_assert_eq(take(100), 100, "28 pages of the tail and new ones");
}

Test(heap, the_peak_is_kept, .init = core_start)
{
	take(100);
	give(0, 100);
	take(10);
	cr_assert_eq(heap.npages_peak, 100);
}

Test(heap, refused_growth_changes_nothing, .init = core_start)
{
	bool is_taken, is_small_taken;

	take(100);
	core_refuse_memory(true);
	is_taken = core_take_pages(NULL, 100, 1, &run);
	is_small_taken = core_take_pages(NULL, 28, 1, &run);
	core_refuse_memory(false);
	cr_assert_not(is_taken);
	cr_assert(is_small_taken, "what was there");
	cr_assert_eq(heap_bytes(), MIB(1));
	core_verify();
	cr_assert_eq(take(100), 128);
}

Test(heap, a_heap_that_may_not_grow_gives_what_is_there, .init = core_start)
{
	cr_assert_not(heap_take_pages(NULL, 1, 1, false, &run));
	cr_assert_not(heap_take_pages(&cache, 1, 1, false, &run));
	cr_assert_eq(heap_bytes(), 0);
	take(1);
	cr_assert(heap_take_pages(NULL, 127, 1, false, &run));
	cr_assert_not(heap_take_pages(NULL, 1, 1, false, &run));
	cr_assert_eq(heap_bytes(), MIB(1));
}

Test(heap, more_than_there_are_addresses_is_refused, .init = core_start)
{
	page_idx capacity = (page_idx)(heap.region.nbytes >> PAGE_SHIFT);

	cr_assert_not(core_take_pages(NULL, capacity, 2, &run) &&
	              core_take_pages(NULL, capacity, 1, &run));
	cr_assert_not(core_take_pages(NULL, capacity + 1, 1, &run));
	cr_assert_not(core_take_pages(NULL, 1, capacity * 2, &run));
	core_verify();
}

/* --- runs --- */

ParameterizedTestParameters(heap, runs_can_be_aligned)
{
	static page_idx aligns[] = { 1, 2, 64, 128, 256, 4096, ARENA_PAGES, 4 * ARENA_PAGES };

	return cr_make_param_array(page_idx, aligns, sizeof aligns / sizeof *aligns);
}

ParameterizedTest(page_idx *align, heap, runs_can_be_aligned, .init = core_start)
{
	take(1);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert(core_take_pages(NULL, 3, *align, &run));
		cr_assert_eq(run.first % *align, 0);
		*(char *)heap_address(run.first) = 1;
	}
	core_verify();
}

Test(heap, freed_pages_are_dirty_and_used_again, .init = core_start)
{
	take(200);
	give(50, 60);
	cr_assert_eq(take(60), 50);
	cr_assert_eq(run.nclean, 0);
	heap_give_pages(NULL, 50, 60, PAGES_CLEAN);
	cr_assert_eq(take(60), 50);
	cr_assert_eq(run.nclean, 60);
	heap_give_pages(NULL, 50, 60, PAGES_LAZY);
	cr_assert_eq(take(60), 50);
	cr_assert_eq(run.nclean, 0);
}

Test(heap, pages_are_taken_at_a_place_only_if_all_are_free, .init = core_start)
{
	take(100);
	give(50, 10);
	cr_assert_not(heap_take_pages_at(49, 2, &run));
	cr_assert_not(heap_take_pages_at(55, 6, &run));
	cr_assert_not(heap_take_pages_at(127, 2, &run), "beyond the end");
	cr_assert_not(heap_take_pages_at(128, 1, &run));
	cr_assert(heap_take_pages_at(50, 10, &run));
	cr_assert_eq(run.first, 50);
	cr_assert_eq(run.npages, 10);
	cr_assert_eq(run.nclean, 0);
	cr_assert(heap_take_pages_at(120, 8, &run));
	cr_assert_eq(run.nclean, 8);
}

Test(heap, short_runs_come_through_the_cache, .init = core_start)
{
	cr_assert(core_take_pages(&cache, 4, 1, &run));
	cr_assert(cache.is_claimed);

	page_idx used = core_used_pages();

	cr_assert_eq(used, PAGES_GROUP);
	cr_assert(core_take_pages(&cache, 32, 1, &run));
	cr_assert_eq(run.first, 4);
	cr_assert_eq(run.nclean, 32);
	cr_assert_eq(core_used_pages(), used);
	heap_give_pages(&cache, 4, 32, PAGES_DIRTY);
	cr_assert_eq(core_used_pages(), used);
	cr_assert(core_take_pages(&cache, 30, 1, &run));
	cr_assert_eq(run.first, 4);
	cr_assert_eq(run.nclean, 0);
	heap_give_pages(&cache, 4, 30, PAGES_DIRTY);
	heap_return_cache(&cache);
	heap_return_cache(&cache);
	cr_assert_eq(core_used_pages(), 4);
	core_verify();
}

Test(heap, an_empty_cache_claims_the_next_group, .init = core_start)
{
	cr_assert(core_take_pages(&cache, 32, 1, &run));
	cr_assert(core_take_pages(&cache, 32, 1, &run));
	cr_assert(core_take_pages(&cache, 1, 1, &run));
	cr_assert_eq(run.first, PAGES_GROUP);
	for (unsigned i = 0; i < 100; i++)
		cr_assert(core_take_pages(&cache, 31, 1, &run));
	heap_return_cache(&cache);
	cr_assert_eq(core_used_pages(), 65 + 3100);
}

static uintptr_t told_from, told_to;

static void note_told(uintptr_t from, uintptr_t to)
{
	told_from = from;
	told_to = to;
}

/* Of pages that nobody used before, or of a few, it is not worth while. */
Test(heap, who_claims_many_used_pages_is_going_to_write_them, .init = core_start_gc)
{
	hooks.will_write = note_told;
	take(256);
	give(65, 63);
	give(192, PAGES_GROUP / 4 - 1);
	cr_assert(core_take_pages(&cache, 1, 1, &run));
	cr_assert_eq(run.first, 65);
	cr_assert_eq(told_from, heap_address(64));
	cr_assert_eq(told_to, heap_address(128));
	told_from = 0;
	cr_assert(core_take_pages(&cache, 32, 1, &run));
	cr_assert(core_take_pages(&cache, 30, 1, &run));
	cr_assert(core_take_pages(&cache, 1, 1, &run));
	cr_assert_eq(run.first, 192);
	cr_assert(core_take_pages(&cache, 32, 1, &run));
	cr_assert_geq(run.first, 256);
	cr_assert_eq(told_from, 0);
}

Test(heap, long_and_aligned_runs_pass_the_cache_by, .init = core_start)
{
	cr_assert(core_take_pages(&cache, 33, 1, &run));
	cr_assert(core_take_pages(&cache, 1, 4, &run));
	cr_assert_not(cache.is_claimed);
	cr_assert_eq(core_used_pages(), 34);
}

Test(heap, pages_of_another_group_go_past_the_cache, .init = core_start)
{
	take(100);
	cr_assert(core_take_pages(&cache, 1, 1, &run));
	heap_give_pages(&cache, 0, 50, PAGES_DIRTY);
	heap_give_pages(&cache, run.first, 1, PAGES_CLEAN);     /* the cache takes dirty ones only */
	heap_return_cache(&cache);
	cr_assert_eq(core_used_pages(), 50);
	core_verify();
}

Test(heap, a_refused_group_is_not_claimed, .init = core_start)
{
	bool is_taken;

	core_refuse_memory(true);
	is_taken = core_take_pages(&cache, 4, 1, &run);
	core_refuse_memory(false);
	cr_assert_not(is_taken);
	cr_assert_not(cache.is_claimed);
	cr_assert(core_take_pages(&cache, 4, 1, &run));
}

/* --- what stands at an address --- */

static struct span *new_span(void)
{
	struct span *list = NULL;

	return heap_new_spans(&list, 1) ? list : NULL;
}

static struct span *span_over(page_idx first, page_idx npages)
{
	struct span *s = new_span();

	s->base = heap_address(first);
	s->npages = npages;
	heap_map_span(first, npages, s);
	return s;
}

Test(heap, every_address_of_a_span_leads_to_it, .init = core_start)
{
	take(100);

	struct span *s = span_over(10, 5), *t = span_over(15, 1);

	cr_assert_null(heap_span_any(heap_address(10) - 1));
	cr_assert_eq(heap_span_any(heap_address(10)), s);
	cr_assert_eq(heap_span_any(heap_address(15) - 1), s);
	cr_assert_eq(heap_span_any(heap_address(15)), t);
	cr_assert_null(heap_span_any(heap_address(16)));
	cr_assert_eq(heap_span(heap_address(14) + 77), s);
}

Test(heap, whole_arenas_of_a_span_have_one_entry_each, .init = core_start)
{
	take(4 * ARENA_PAGES);

	struct span *s = span_over(ARENA_PAGES - 1, 2 * ARENA_PAGES + 2);
	static const page_idx inside[] = { ARENA_PAGES - 1, ARENA_PAGES, ARENA_PAGES + 5,
	                                   2 * ARENA_PAGES - 1, 2 * ARENA_PAGES,
	                                   3 * ARENA_PAGES - 1, 3 * ARENA_PAGES };

	for (unsigned i = 0; i < sizeof inside / sizeof *inside; i++)
		cr_assert_eq(heap_span_any(heap_address(inside[i]) + 9), s, "page %u", inside[i]);
	cr_assert_null(heap_span_any(heap_address(ARENA_PAGES - 2)));
	cr_assert_null(heap_span_any(heap_address(3 * ARENA_PAGES + 1)));
	cr_assert_null(heap.page_span[ARENA_PAGES + 5]);
}

Test(heap, the_first_tables_move_with_what_they_say, .init = core_start)
{
	take(256);                              /* 2 MiB: all that they cover */
	give(100, 20);

	struct span *s = span_over(10, 5), *t = span_over(255, 1);
	class_idx class = atomic_load_explicit(heap_page_class(12), memory_order_relaxed);

	cr_assert_not(heap.has_moved);
	core_refuse_memory(true);
	cr_assert_not(core_take_pages(NULL, 21, 1, &run));
	core_refuse_memory(false);
	core_verify();
	cr_assert_eq(take(21), 256);
	cr_assert(heap.has_moved);
	core_verify();
	cr_assert_eq(heap_span_any(heap_address(12)), s);
	cr_assert_eq(heap_span_any(heap_address(255)), t);
	cr_assert_null(heap_span_any(heap_address(16)));
	cr_assert_eq(atomic_load_explicit(heap_page_class(12), memory_order_relaxed), class);
	cr_assert_eq(take(20), 100);
	s = span_over(100, 180);
	cr_assert_eq(heap_span_any(heap_address(255)), s);
	cr_assert_eq(heap_span_any(heap_address(279)), s);
}

struct mapper {
	pthread_t thread;
	struct span *span;
	page_idx page;
};

static _Atomic bool may_go;

static void *map_one(void *arg)
{
	struct mapper *m = arg;

	while (!atomic_load_explicit(&may_go, memory_order_relaxed))
		;
	heap_map_span(m->page, 1, m->span);
	return NULL;
}

Test(heap, no_entry_is_lost_while_the_tables_move, .init = core_start)
{
	struct mapper m[8];

	take(256);
	for (unsigned i = 0; i < 8; i++) {
		m[i] = (struct mapper){ .span = new_span(), .page = i * 31 };
		m[i].span->base = heap_address(m[i].page);
		m[i].span->npages = 1;
		cr_assert_eq(pthread_create(&m[i].thread, NULL, map_one, &m[i]), 0);
	}
	atomic_store_explicit(&may_go, true, memory_order_relaxed);
	take(100);
	for (unsigned i = 0; i < 8; i++) {
		pthread_join(m[i].thread, NULL);
		cr_assert_eq(heap_span_any(heap_address(m[i].page)), m[i].span);
	}
}

Test(heap, a_stale_entry_is_seen_through, .init = core_start)
{
	take(100);

	struct span *s = span_over(10, 5);

	s->base = heap_address(50);             /* the record serves another span */
	heap_map_span(50, 5, s);
	cr_assert_null(heap_span_any(heap_address(12)));
	cr_assert_eq(heap_span_any(heap_address(52)), s);
}

Test(heap, span_records_are_used_again, .init = core_start)
{
	struct span *records[40];

	for (unsigned i = 0; i < 40; i++) {
		records[i] = new_span();
		cr_assert_eq((uintptr_t)records[i] % CACHE_LINE, 0);
		for (unsigned j = 0; j < i; j++)
			cr_assert_neq(records[i], records[j]);
	}
	heap_drop_span(records[7]);
	cr_assert_eq(records[7]->place, SPAN_UNUSED);
	cr_assert_eq(new_span(), records[7]);
}

Test(heap, without_memory_there_is_no_record, .init = core_start)
{
	struct span *s;
	unsigned n = 0;

	core_refuse_memory(true);
	while ((s = new_span()) && n < 100000)
		n++;
	core_refuse_memory(false);
	cr_assert_null(s);
	cr_assert_not_null(new_span());
}
