/* pages.c: each edge of the page level: words, chunks, levels, the heap's two ends. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <signal.h>

#include "core/hooks.h"
#include "tests/unit/pages.h"

/* core/report.h calls up through them. */
struct hooks hooks;

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
	struct pages_cache cache = { 0 };

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
