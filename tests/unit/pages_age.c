/* pages_age.c: which dirty pages are old, and in which order they are taken to go back. */
#include <criterion/criterion.h>

#include "core/hooks.h"
#include "tests/unit/pages.h"

/* core/report.h calls up through them. */
struct hooks hooks;

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

Test(pages_age, old_dirty_runs_come_from_the_top, .init = full)
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

Test(pages_age, clean_and_lazy_pages_end_a_dirty_run, .init = full)
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

Test(pages_age, a_group_is_as_young_as_its_last_free, .init = full)
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

Test(pages_age, ages_survive_a_wrap_of_the_clock, .init = full)
{
	free_dirty(10, 20, UINT32_MAX - 5);
	free_dirty(70, 72, 5);
	cr_assert_eq(pages_dirty_aged(&p, UINT32_MAX - 5), 0);
	cr_assert_eq(pages_dirty_aged(&p, 5), 10);
	cr_assert_eq(pages_dirty_aged(&p, 6), 12);
}

Test(pages_age, huge_blocks_are_whole_and_aligned, .init = full)
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

Test(pages_age, a_run_given_back_is_not_dirty_again, .init = full)
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
Test(pages_age, a_long_walk_pauses_and_ends, .init = full_big)
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
