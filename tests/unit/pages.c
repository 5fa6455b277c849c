/* pages.c: each edge of the page level: words, chunks, levels, the heap's two ends.
 *
 * Runs are written [first, limit) in pages. Most tests begin with a heap of 4 chunks, all taken,
 * and free what they need, so that every fit is the one that was made.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "core/pages_summary.h"

#define CHUNK PAGES_CHUNK
#define HEAP (4 * CHUNK)
#define BIG (UINT32_C(3) << 20)                 /* more than two entries of the root */

static struct pages p;
static struct pages_mix mix;
static struct pages_cache cache;

static void *zeroed(size_t nbytes)
{
	nbytes = align_up(nbytes, CACHE_LINE);
	return memset(aligned_alloc(CACHE_LINE, nbytes), 0, nbytes);
}

static void empty_of(page_idx capacity)
{
	pages_init(&p, zeroed((capacity / CHUNK + 1) * pages_chunk_bytes()),
	           zeroed(pages_summary_bytes(capacity)), capacity);
}

static void full_of(page_idx npages)
{
	empty_of(npages);
	pages_grow(&p, npages);
	cr_assert_eq(pages_alloc(&p, npages, 1, &mix), 0);
}

static void full(void)
{
	full_of(HEAP);
}

static void full_big(void)
{
	full_of(BIG);
}

static void grown(void)
{
	empty_of(HEAP);
	pages_grow(&p, HEAP);
}

static void free_dirty(page_idx first, page_idx limit, uint32_t now)
{
	pages_free(&p, first, limit - first, PAGES_DIRTY, now);
}

static void move_to(page_idx capacity)
{
	pages_move(&p, zeroed((capacity / CHUNK + 1) * pages_chunk_bytes()),
	           zeroed(pages_summary_bytes(capacity)), capacity);
}

/* --- growth and both ends --- */

Test(pages, moves_to_larger_memory_with_everything)
{
	page_idx cursor = PAGE_NONE, npages;

	empty_of(PAGES_GROW);
	pages_grow(&p, PAGES_GROW);
	cr_assert_eq(pages_alloc(&p, 100, 1, &mix), 0);
	free_dirty(20, 30, 1);
	pages_free(&p, 40, 5, PAGES_LAZY, 1);
	for (page_idx capacity = PAGES_GROW; capacity <= UINT32_C(1) << 27; capacity *= 8) {
		move_to(capacity);
		pages_verify(&p);
		cr_assert_eq(p.capacity, capacity);
		cr_assert_eq(p.nfree, 28 + 15);
	}
	pages_grow(&p, CHUNK);
	pages_verify(&p);
	cr_assert_eq(pages_alloc(&p, 28 + CHUNK, 1, &mix), 100);
	cr_assert_eq(pages_take_dirty(&p, 2, 100, false, &cursor, &npages), 20);
	cr_assert_eq(npages, 10);
}

Test(pages, records_are_small)
{
	cr_assert_leq(pages_chunk_bytes(), 320);
	cr_assert_leq(pages_summary_bytes(UINT32_C(1) << 27), 2400 * 1024);
}

Test(pages, an_empty_heap_has_nothing)
{
	empty_of(HEAP);
	cr_assert_eq(pages_alloc(&p, 1, 1, &mix), PAGE_NONE);
	cr_assert_not(pages_take(&p, 0, 1, &mix));
	cr_assert_not(pages_cache_claim(&p, &cache, 1));
	cr_assert_eq(pages_tail_free(&p), 0);
	pages_verify(&p);
}

Test(pages, new_pages_are_free_and_clean)
{
	empty_of(HEAP);
	pages_grow(&p, PAGES_GROW);
	cr_assert_eq(p.npages, PAGES_GROW);
	cr_assert_eq(p.nfree, PAGES_GROW);
	cr_assert_eq(p.nclean, PAGES_GROW);
	cr_assert_eq(pages_alloc(&p, PAGES_GROW, 1, &mix), 0);
	cr_assert_eq(mix.nclean, PAGES_GROW);
	cr_assert_eq(mix.nlazy, 0);
	cr_assert_eq(pages_alloc(&p, 1, 1, &mix), PAGE_NONE);
	pages_verify(&p);
}

Test(pages, growth_joins_the_free_tail)
{
	empty_of(HEAP);
	pages_grow(&p, PAGES_GROW);
	cr_assert_eq(pages_alloc(&p, 100, 1, &mix), 0);
	cr_assert_eq(pages_alloc(&p, PAGES_GROW, 1, &mix), PAGE_NONE);
	pages_grow(&p, PAGES_GROW);
	cr_assert_eq(pages_alloc(&p, PAGES_GROW, 1, &mix), 100);
	pages_verify(&p);
}

Test(pages, growth_after_full_is_found)
{
	empty_of(HEAP);
	pages_grow(&p, CHUNK);
	cr_assert_eq(pages_alloc(&p, CHUNK, 1, &mix), 0);
	cr_assert_eq(pages_alloc(&p, 1, 1, &mix), PAGE_NONE);
	pages_grow(&p, CHUNK);
	cr_assert_eq(pages_alloc(&p, 1, 1, &mix), CHUNK);
}

Test(pages, the_whole_heap_is_one_run, .init = full_big)
{
	pages_free(&p, 0, BIG, PAGES_LAZY, 0);
	cr_assert_eq(pages_tail_free(&p), BIG);
	cr_assert_eq(pages_alloc(&p, BIG + 1, 1, &mix), PAGE_NONE);
	cr_assert_eq(pages_alloc(&p, BIG, 1, &mix), 0);
	cr_assert_eq(mix.nlazy, BIG);
	cr_assert_eq(p.nfree, 0);
	pages_verify(&p);
}

Test(pages, growth_past_the_capacity_dies, .init = grown, .signal = SIGABRT)
{
	pages_grow(&p, PAGES_GROW);
}

/* --- fits around borders --- */

struct edge {
	page_idx at, npages;
};

/* Words, chunks and each level of the tree begin at these pages; the last is the heap's end. */
static const page_idx borders[] = {
	64, CHUNK, 3 * CHUNK, 1u << 12, 1u << 15, 1u << 18, 1u << 20, 1u << 21, BIG
};

ParameterizedTestParameters(pages, finds_the_only_run_at_each_border)
{
	static const page_idx lengths[] = { 1, 2, 63, 64, 65, 128, 511, 512, 513, 1025, 5000 };
	static struct edge edges[3 * 9 * 11];
	size_t n = 0;

	for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
		page_idx border = borders[i / 33], length = lengths[i / 3 % 11];
		page_idx before = length * (i % 3) / 2; /* from it, around it, up to it */

		if (before <= border && border - before + length <= BIG)
			edges[n++] = (struct edge){ border - before, length };
	}
	return cr_make_param_array(struct edge, edges, n);
}

/* A shorter run before it must not be taken, one page more must not be found. */
ParameterizedTest(struct edge *e, pages, finds_the_only_run_at_each_border, .init = full_big)
{
	if (e->at > 8 && e->npages > 1)
		free_dirty(2, 3, 0);
	free_dirty(e->at, e->at + e->npages, 0);
	cr_assert_eq(pages_alloc(&p, e->npages + 1, 1, &mix), PAGE_NONE);
	cr_assert_eq(pages_alloc(&p, e->npages, 1, &mix), e->at);
	cr_assert_eq(pages_alloc(&p, e->npages + 1, 1, &mix), PAGE_NONE);
}

Test(pages, the_lowest_fit_is_taken, .init = full)
{
	free_dirty(10, 13, 0);
	free_dirty(70, 74, 0);
	free_dirty(600, 610, 0);
	cr_assert_eq(pages_alloc(&p, 4, 1, &mix), 70);
	cr_assert_eq(pages_alloc(&p, 4, 1, &mix), 600);
	cr_assert_eq(pages_alloc(&p, 3, 1, &mix), 10);
	cr_assert_eq(pages_alloc(&p, 1, 1, &mix), 604);
	pages_verify(&p);
}

Test(pages, neighbours_freed_in_any_order_become_one, .init = full)
{
	free_dirty(500, 510, 0);
	free_dirty(520, 530, 0);
	free_dirty(510, 520, 0);
	cr_assert_eq(pages_alloc(&p, 30, 1, &mix), 500);
}

Test(pages, a_run_over_three_chunks_is_found_from_its_middle, .init = full)
{
	free_dirty(CHUNK - 1, 3 * CHUNK + 1, 0);
	cr_assert_eq(pages_alloc(&p, 2 * CHUNK + 2, 1, &mix), CHUNK - 1);
}

Test(pages, a_free_below_the_hint_is_found_again, .init = full)
{
	free_dirty(1000, 1001, 0);
	cr_assert_eq(pages_alloc(&p, 1, 1, &mix), 1000);
	free_dirty(3, 4, 0);
	cr_assert_eq(pages_alloc(&p, 1, 1, &mix), 3);
	cr_assert_eq(pages_alloc(&p, 1, 1, &mix), PAGE_NONE);
	pages_verify(&p);
}

/* --- alignment --- */

Test(pages, each_alignment_skips_what_is_too_low, .init = grown)
{
	cr_assert_eq(pages_alloc(&p, 1, 1, &mix), 0);
	for (page_idx align = 2; align < HEAP; align *= 2)
		cr_assert_eq(pages_alloc(&p, 1, align, &mix), align);
	cr_assert_eq(pages_alloc(&p, 1, HEAP, &mix), PAGE_NONE);
	cr_assert_eq(pages_alloc(&p, 1, UINT32_C(1) << 31, &mix), PAGE_NONE);
	pages_verify(&p);
}

Test(pages, an_aligned_run_may_end_at_the_heaps_end, .init = full)
{
	free_dirty(2 * CHUNK + 1, HEAP, 0);
	cr_assert_eq(pages_alloc(&p, CHUNK + 1, CHUNK, &mix), PAGE_NONE);
	cr_assert_eq(pages_alloc(&p, CHUNK, CHUNK, &mix), 3 * CHUNK);
}

/* All odd pages are free: more misaligned fits than a search looks at. The even page at the
 * end must be found all the same: no run is long enough to be sure, so by looking at all. */
Test(pages, the_one_aligned_fit_behind_many_others_is_found, .init = full)
{
	for (page_idx at = 1; at < HEAP; at += 2)
		free_dirty(at, at + 1, 0);
	cr_assert_eq(pages_alloc(&p, 1, 2, &mix), PAGE_NONE);
	pages_take(&p, HEAP - 3, 1, &mix);
	pages_take(&p, HEAP - 1, 1, &mix);
	free_dirty(HEAP - 2, HEAP - 1, 0);
	cr_assert_eq(pages_alloc(&p, 1, 2, &mix), HEAP - 2);
	pages_verify(&p);
}

Test(pages, behind_many_misaligned_fits_a_long_run_will_do, .init = full)
{
	for (page_idx at = 1; at < 3 * CHUNK; at += 2)
		free_dirty(at, at + 1, 0);
	free_dirty(3 * CHUNK + 9, 3 * CHUNK + 14, 0);
	cr_assert_eq(pages_alloc(&p, 1, 2, &mix), 3 * CHUNK + 10);
	cr_assert_eq(pages_alloc(&p, 1, 4, &mix), 3 * CHUNK + 12);
}

/* --- taking in place, freeing --- */

Test(pages, takes_exactly_a_free_run_or_nothing, .init = full)
{
	free_dirty(60, 70, 0);
	cr_assert_not(pages_take(&p, 59, 2, &mix));
	cr_assert_not(pages_take(&p, 65, 6, &mix));
	cr_assert_eq(p.nfree, 10);
	cr_assert(pages_take(&p, 62, 4, &mix));
	cr_assert_eq(p.nfree, 6);
	cr_assert_not(pages_take(&p, 62, 1, &mix));
	cr_assert_eq(pages_alloc(&p, 4, 1, &mix), 66);
	pages_verify(&p);
}

Test(pages, takes_nothing_beyond_the_end, .init = grown)
{
	cr_assert_not(pages_take(&p, HEAP - 1, 2, &mix));
	cr_assert_not(pages_take(&p, HEAP, 1, &mix));
	cr_assert_not(pages_take(&p, PAGE_NONE, 1, &mix));
	cr_assert_not(pages_take(&p, 1, UINT32_MAX, &mix));
	cr_assert_not(pages_take(&p, 1, 0, &mix));
	cr_assert(pages_take(&p, HEAP - 1, 1, &mix));
}

Test(pages, a_page_freed_twice_dies, .init = full, .signal = SIGABRT)
{
	free_dirty(100, 110, 0);
	free_dirty(109, 120, 0);
}

Test(pages, a_free_beyond_the_end_dies, .init = full, .signal = SIGABRT)
{
	pages_free(&p, HEAP - 1, 2, PAGES_DIRTY, 0);
}

Test(pages, kinds_are_counted_and_told, .init = full)
{
	pages_free(&p, 62, 4, PAGES_CLEAN, 0);
	pages_free(&p, 66, 2, PAGES_DIRTY, 0);
	pages_free(&p, 68, 3, PAGES_LAZY, 0);
	cr_assert_eq(p.nfree, 9);
	cr_assert_eq(p.nclean, 4);
	cr_assert_eq(p.nlazy, 3);
	cr_assert_eq(pages_alloc(&p, 8, 1, &mix), 62);
	cr_assert_eq(mix.nclean, 4);
	cr_assert_eq(mix.nlazy, 2);
	cr_assert_eq(p.nlazy, 1);
	pages_free(&p, 62, 8, PAGES_DIRTY, 0);
	cr_assert(pages_take(&p, 62, 9, &mix));
	cr_assert_eq(mix.nclean, 0);
	cr_assert_eq(mix.nlazy, 1);
	pages_verify(&p);
}

Test(pages, what_was_given_back_and_is_handed_out_again_is_counted, .init = grown)
{
	cr_assert_eq(p.nfresh, HEAP);
	cr_assert_eq(pages_alloc(&p, 100, 1, &mix), 0);
	cr_assert_eq(mix.nfresh, 100);
	cr_assert_eq(p.nfresh, HEAP - 100);
	cr_assert_eq(p.nreused, 0, "fresh pages are not");
	pages_free(&p, 10, 20, PAGES_CLEAN, 0);
	pages_free(&p, 40, 5, PAGES_LAZY, 0);
	free_dirty(60, 70, 0);
	cr_assert(pages_take(&p, 10, 20, &mix));
	cr_assert_eq(mix.nfresh, 0);
	cr_assert_eq(p.nreused, 20);
	cr_assert_eq(pages_alloc(&p, 5, 1, &mix), 40);
	cr_assert_eq(p.nreused, 25);
	cr_assert_eq(pages_alloc(&p, 10, 1, &mix), 60);
	cr_assert_eq(p.nreused, 25, "dirty pages are not");
	pages_verify(&p);
}

Test(pages, what_a_cache_handed_out_again_is_counted_at_its_return, .init = grown)
{
	cr_assert_eq(pages_alloc(&p, 64 + 20, 1, &mix), 0);
	pages_free(&p, 64, 6, PAGES_CLEAN, 0);
	pages_free(&p, 70, 4, PAGES_LAZY, 0);
	cr_assert(pages_cache_claim(&p, &cache, 1));
	cr_assert_eq(pages_cache_alloc(&cache, 8, &mix), 64);
	cr_assert(pages_cache_free(&cache, 64, 1));
	cr_assert_eq(pages_cache_alloc(&cache, 10, &mix), 64 + 20);
	cr_assert_eq(p.nreused, 0);
	pages_cache_return(&p, &cache, 0);
	cr_assert_eq(p.nreused, 8);
	cr_assert_eq(p.nfresh, HEAP - (64 + 20 + 10));
	cr_assert_eq(p.nlazy, 2);
	pages_verify(&p);
}

ParameterizedTestParameters(pages, the_free_tail_is_measured)
{
	static page_idx tails[] = { 0, 1, 63, 64, 65, 127, 128, 129, 640, 641, 1u << 12,
	                            (1u << 15) + 1, (1u << 18) + 77, (1u << 20) + 1, BIG - 1 };
	return cr_make_param_array(page_idx, tails, sizeof tails / sizeof *tails);
}

/* Once with the heap's end at a chunk's, once inside a chunk. */
ParameterizedTest(page_idx *tail, pages, the_free_tail_is_measured)
{
	for (page_idx npages = BIG - 3 * PAGES_GROW; npages <= BIG; npages += 3 * PAGES_GROW) {
		page_idx n = *tail < npages ? *tail : npages - 1;

		full_of(npages);
		if (n)
			free_dirty(npages - n, npages, 0);
		cr_assert_eq(pages_tail_free(&p), n);
	}
}

/* --- the cache of a thread --- */

Test(pages, a_claim_takes_the_lowest_group_that_has_the_run, .init = full)
{
	free_dirty(60, 69, 0);                  /* 4 and 5 pages, cut by a border */
	free_dirty(200, 210, 0);
	cr_assert(pages_cache_claim(&p, &cache, 5));
	cr_assert_eq(cache.first, 64);
	cr_assert_eq(cache.free, 0x1f);
	pages_cache_return(&p, &cache, 0);
	cr_assert(pages_cache_claim(&p, &cache, 6));
	cr_assert_eq(cache.first, 192);
	cr_assert_eq(p.nfree, 9);
	pages_verify(&p);
	pages_cache_return(&p, &cache, 0);
	cr_assert_not(pages_cache_claim(&p, &cache, 11));
	cr_assert_not(cache.is_claimed);
	pages_verify(&p);
}

/* 3 pages in a row lie over every border of groups, more often than a claim looks at. */
Test(pages, behind_many_cut_runs_a_claim_wants_a_long_one, .init = full_big)
{
	for (page_idx at = 64; at < CHUNK * 64; at += 64)
		free_dirty(at - 2, at + 1, 0);
	free_dirty(CHUNK * 100 + 1, CHUNK * 100 + 4, 0);
	cr_assert_not(pages_cache_claim(&p, &cache, 3));
	cr_assert(pages_cache_claim(&p, &cache, 2));
	pages_cache_return(&p, &cache, 0);
	free_dirty(CHUNK * 200 - 2, CHUNK * 200 + 3, 0);
	cr_assert(pages_cache_claim(&p, &cache, 3));
	cr_assert_eq(cache.first, CHUNK * 200);
}

Test(pages, a_claim_keeps_kinds, .init = full)
{
	pages_free(&p, 64, 3, PAGES_CLEAN, 0);
	pages_free(&p, 70, 2, PAGES_LAZY, 0);
	free_dirty(100, 101, 0);
	cr_assert(pages_cache_claim(&p, &cache, 1));
	cr_assert_eq(p.nfree + p.nclean + p.nlazy, 0);
	cr_assert_eq(pages_cache_alloc(&cache, 2, &mix), 64);
	cr_assert_eq(mix.nclean, 2);
	pages_cache_return(&p, &cache, 0);
	cr_assert_eq(p.nfree, 4);
	cr_assert_eq(p.nclean, 1);
	cr_assert_eq(p.nlazy, 2);
	pages_verify(&p);
}

Test(pages, a_cache_allocates_the_lowest_fit, .init = grown)
{
	cr_assert(pages_cache_claim(&p, &cache, 64));
	cr_assert_eq(pages_cache_alloc(&cache, 65, &mix), PAGE_NONE);
	cr_assert_eq(pages_cache_alloc(&cache, 64, &mix), 0);
	cr_assert_eq(pages_cache_alloc(&cache, 1, &mix), PAGE_NONE);
	cr_assert(pages_cache_free(&cache, 63, 1));
	cr_assert(pages_cache_free(&cache, 10, 3));
	cr_assert_eq(pages_cache_alloc(&cache, 4, &mix), PAGE_NONE);
	cr_assert_eq(pages_cache_alloc(&cache, 3, &mix), 10);
	cr_assert_eq(mix.nclean, 0);
	cr_assert_eq(pages_cache_alloc(&cache, 1, &mix), 63);
}

Test(pages, a_cache_takes_back_its_group_only, .init = grown)
{
	cr_assert_not(pages_cache_free(&cache, 0, 1));
	cr_assert(pages_take(&p, 0, 200, &mix));
	cr_assert(pages_cache_claim(&p, &cache, 1));
	cr_assert_eq(cache.first, 192);
	cr_assert_not(pages_cache_free(&cache, 191, 1));
	cr_assert_not(pages_cache_free(&cache, 191, 2));
	cr_assert(pages_cache_free(&cache, 192, 1));
	cr_assert_eq(pages_cache_alloc(&cache, 1, &mix), 192);
	cr_assert_eq(pages_cache_alloc(&cache, 56, &mix), 200);
	cr_assert_not(pages_cache_free(&cache, 255, 2));
	cr_assert_not(pages_cache_free(&cache, 256, 1));
	cr_assert(pages_cache_free(&cache, 255, 1));
}

Test(pages, a_page_freed_twice_into_a_cache_dies, .init = grown, .signal = SIGABRT)
{
	cr_assert(pages_cache_claim(&p, &cache, 64));
	pages_cache_free(&cache, 5, 1);
}

Test(pages, a_claim_over_a_claim_dies, .init = grown, .signal = SIGABRT)
{
	cr_assert(pages_cache_claim(&p, &cache, 1));
	pages_cache_claim(&p, &cache, 1);
}

Test(pages, pages_freed_beside_a_cache_join_at_its_return, .init = grown)
{
	cr_assert(pages_cache_claim(&p, &cache, 64));
	cr_assert_eq(pages_cache_alloc(&cache, 10, &mix), 0);
	free_dirty(0, 5, 0);
	pages_cache_return(&p, &cache, 0);
	cr_assert_eq(p.nfree, HEAP - 5);
	pages_verify(&p);
	pages_cache_return(&p, &cache, 0);      /* an empty one: nothing happens */
	cr_assert_eq(p.nfree, HEAP - 5);
}

/* --- ages --- */

static void take_dirty_is(uint32_t cutoff, page_idx max, page_idx *cursor, page_idx first,
                          page_idx limit)
{
	page_idx npages;

	cr_assert_eq(pages_take_dirty(&p, cutoff, max, false, cursor, &npages), first);
	cr_assert_eq(npages, limit - first);
}

static void no_more_dirty(uint32_t cutoff, page_idx *cursor)
{
	page_idx npages;

	cr_assert_eq(pages_take_dirty(&p, cutoff, HEAP, false, cursor, &npages), PAGE_NONE);
	cr_assert_eq(npages, 0);
	cr_assert_eq(*cursor, 0);
}

Test(pages, old_dirty_runs_come_from_the_top, .init = full)
{
	page_idx cursor = PAGE_NONE;

	free_dirty(0, 1, 7);
	free_dirty(500, 600, 7);
	free_dirty(HEAP - 70, HEAP, 7);
	take_dirty_is(8, 1000, &cursor, HEAP - 70, HEAP);
	take_dirty_is(8, 80, &cursor, 520, 600);
	take_dirty_is(8, 80, &cursor, 500, 520);
	cr_assert_eq(p.nfree, 1);
	take_dirty_is(8, 80, &cursor, 0, 1);
	cr_assert_eq(cursor, 0);
	cursor = PAGE_NONE;
	no_more_dirty(8, &cursor);
	pages_verify(&p);
}

Test(pages, clean_and_lazy_pages_end_a_dirty_run, .init = full)
{
	page_idx cursor = PAGE_NONE;

	free_dirty(100, 110, 0);
	pages_free(&p, 110, 1, PAGES_CLEAN, 0);
	free_dirty(111, 115, 0);
	pages_free(&p, 115, 1, PAGES_LAZY, 0);
	cr_assert_eq(pages_dirty_aged(&p, 1), 14);
	take_dirty_is(1, HEAP, &cursor, 111, 115);
	take_dirty_is(1, HEAP, &cursor, 100, 110);
	no_more_dirty(1, &cursor);
}

Test(pages, a_group_is_as_young_as_its_last_free, .init = full)
{
	page_idx cursor = PAGE_NONE;

	free_dirty(10, 20, 100);
	free_dirty(30, 40, 200);
	free_dirty(64, 65, 100);
	cr_assert_eq(pages_dirty_aged(&p, 100), 0);
	cr_assert_eq(pages_dirty_aged(&p, 101), 1);
	cr_assert_eq(pages_dirty_aged(&p, 200), 1);
	cr_assert_eq(pages_dirty_aged(&p, 201), 21);
	take_dirty_is(200, HEAP, &cursor, 64, 65);
	no_more_dirty(200, &cursor);
}

Test(pages, ages_survive_a_wrap_of_the_clock, .init = full)
{
	free_dirty(10, 20, UINT32_MAX - 5);
	free_dirty(70, 72, 5);
	cr_assert_eq(pages_dirty_aged(&p, UINT32_MAX - 5), 0);
	cr_assert_eq(pages_dirty_aged(&p, 5), 10);
	cr_assert_eq(pages_dirty_aged(&p, 6), 12);
}

Test(pages, a_cache_makes_young_only_what_it_freed, .init = full)
{
	free_dirty(0, 10, 100);
	cr_assert(pages_cache_claim(&p, &cache, 1));
	pages_cache_return(&p, &cache, 200);
	cr_assert_eq(pages_dirty_aged(&p, 101), 10);
	cr_assert(pages_cache_claim(&p, &cache, 1));
	cr_assert_eq(pages_cache_alloc(&cache, 1, &mix), 0);
	cr_assert(pages_cache_free(&cache, 0, 1));
	pages_cache_return(&p, &cache, 200);
	cr_assert_eq(pages_dirty_aged(&p, 101), 0);
	cr_assert_eq(pages_dirty_aged(&p, 201), 10);
}

Test(pages, huge_blocks_are_whole_and_aligned, .init = full)
{
	page_idx cursor = PAGE_NONE, npages, h = PAGES_HUGE;

	free_dirty(1, 3 * h, 0);                /* the first block lacks a page */
	free_dirty(5 * h, 7 * h - 1, 0);        /* the second lacks one */
	cr_assert_eq(pages_take_dirty(&p, 1, HEAP, true, &cursor, &npages), 5 * h);
	cr_assert_eq(npages, h);
	cr_assert_eq(pages_take_dirty(&p, 1, h + 5, true, &cursor, &npages), 2 * h);
	cr_assert_eq(npages, h);
	cr_assert_eq(pages_take_dirty(&p, 1, HEAP, true, &cursor, &npages), h);
	cr_assert_eq(npages, h);
	cr_assert_eq(pages_take_dirty(&p, 1, HEAP, true, &cursor, &npages), PAGE_NONE);
	cr_assert_eq(cursor, 0);
	pages_verify(&p);
}

Test(pages, a_run_given_back_is_not_dirty_again, .init = full)
{
	page_idx cursor = PAGE_NONE;

	free_dirty(500, 530, 0);
	take_dirty_is(1, HEAP, &cursor, 500, 530);
	pages_free(&p, 500, 30, PAGES_CLEAN, 1);
	cursor = PAGE_NONE;
	no_more_dirty(1, &cursor);
	cr_assert_eq(p.nclean, 30);
	cr_assert_eq(pages_alloc(&p, 30, 1, &mix), 500);
	cr_assert_eq(mix.nclean, 30);
}

/* One young page a chunk: the walk pauses, and goes on to the old one at the bottom. */
Test(pages, a_long_walk_pauses_and_ends, .init = full_big)
{
	page_idx cursor = PAGE_NONE, npages, got;
	unsigned ncalls = 0;

	free_dirty(0, 1, 0);
	for (page_idx at = CHUNK; at < BIG; at += CHUNK)
		free_dirty(at, at + 1, 50);
	do {
		got = pages_take_dirty(&p, 10, HEAP, false, &cursor, &npages);
		ncalls++;
	} while (got == PAGE_NONE && cursor);
	cr_assert_eq(got, 0);
	cr_assert_eq(npages, 1);
	cr_assert_gt(ncalls, 1);
}

/* --- the verifier sees what it should --- */

Test(pages, verify_sees_a_bit_without_its_summary, .init = full, .signal = SIGABRT)
{
	p.chunks[1].free[3] = p.chunks[1].clean[3] = 2;
	p.nfree++;
	p.nclean++;
	p.hint = 0;
	pages_verify(&p);
}

Test(pages, verify_sees_a_wrong_count, .init = full, .signal = SIGABRT)
{
	p.nclean++;
	pages_verify(&p);
}

Test(pages, verify_sees_a_clean_page_in_use, .init = full, .signal = SIGABRT)
{
	p.chunks[1].clean[3] = 2;
	p.nclean++;
	pages_verify(&p);
}
