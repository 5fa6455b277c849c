/* pages_cache.c: a thread's group of pages: what it claims, takes, takes back and returns. */
#include <criterion/criterion.h>
#include <signal.h>

#include "core/hooks.h"
#include "tests/unit/pages.h"

/* core/report.h calls up through them. */
struct hooks hooks;

static struct pages_cache cache;

Test(pages_cache, a_claim_takes_the_lowest_group_that_has_the_run, .init = full)
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
Test(pages_cache, behind_many_cut_runs_a_claim_wants_a_long_one, .init = full_big)
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

Test(pages_cache, a_claim_keeps_kinds, .init = full)
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

Test(pages_cache, a_cache_allocates_the_lowest_fit, .init = grown)
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

Test(pages_cache, a_cache_takes_back_its_group_only, .init = grown)
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

Test(pages_cache, a_page_freed_twice_into_a_cache_dies, .init = grown, .signal = SIGABRT)
{
	cr_assert(pages_cache_claim(&p, &cache, 64));
	pages_cache_free(&cache, 5, 1);
}

Test(pages_cache, a_claim_over_a_claim_dies, .init = grown, .signal = SIGABRT)
{
	cr_assert(pages_cache_claim(&p, &cache, 1));
	pages_cache_claim(&p, &cache, 1);
}

Test(pages_cache, pages_freed_beside_a_cache_join_at_its_return, .init = grown)
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

Test(pages_cache, what_a_cache_handed_out_again_is_counted_at_its_return, .init = grown)
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

Test(pages_cache, a_cache_makes_young_only_what_it_freed, .init = full)
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
