/* scavenge.c: what goes back to the kernel, and when; what stays. */
#include <criterion/criterion.h>

#include "tests/unit/scavenge.h"

static void never(void)
{
	knobs.release_delay_ms = KNOB_NEVER;
	core_start();
}

static void start_none(void)
{
	knobs.madvise = KNOB_MADVISE_NONE;
	core_start();
}

static void start_at_once(void)
{
	knobs.release_delay_ms = 0;
	core_start();
}

Test(scavenge, all_that_is_free_goes_back, .init = core_start)
{
	char *p = dirt(MIB(4));

	cr_assert_eq(dirty(), MIB(4) / PAGE_BYTES);
	cr_assert_eq(nresident(p, MIB(4)), MIB(4) / OS_PAGE_BYTES);
	cr_assert_eq(scavenge_all(), MIB(4));
	cr_assert_eq(dirty(), 0);
	cr_assert_eq(heap.pages.nclean, heap.pages.nfree);
	cr_assert_eq(nresident(p, MIB(4)), 0);
	cr_assert_eq(counted(&live.released_bytes), MIB(4));
	cr_assert_eq(counted(&discard_counts.ndiscards), 1, "in one run");
	cr_assert_eq(scavenge_all(), 0, "once");
	core_verify();
}

Test(scavenge, with_none_everything_stays, .init = start_none)
{
	char *p = dirt(MIB(4));

	cr_assert_eq(scavenge_all(), 0);
	cr_assert_eq(dirty(), MIB(4) / PAGE_BYTES);
	cr_assert_eq(nresident(p, MIB(4)), MIB(4) / OS_PAGE_BYTES);
	dirt(MIB(64));
	cr_assert_not(is_due() || is_help_wanted());
}

/* --- occasions --- */

Test(scavenge, a_little_dirt_is_no_occasion, .init = start_at_once)
{
	dirt(PAGE_BYTES * 7);
	cr_assert_not(is_due() || is_help_wanted());
}

Test(scavenge, without_delay_a_large_free_gives_back, .init = start_at_once)
{
	char *p = dirt(MIB(1));

	cr_assert_not(is_due());
	cr_assert_eq(dirty(), 0);
	cr_assert_eq(nresident(p, MIB(1)), 0);
}

Test(scavenge, without_delay_the_next_slow_call_gives_back, .init = start_at_once)
{
	struct run run;

	cr_assert(core_take_pages(NULL, 128, 1, &run));
	memset((void *)heap_address(run.first), 1, MIB(1));
	heap_give_pages(NULL, run.first, run.npages, PAGES_DIRTY);
	cr_assert(is_due());
	cr_assert_eq(dirty(), 128);
	slow_call();
	cr_assert_not(is_due());
	cr_assert_eq(dirty(), 0);
	cr_assert_eq(nresident((void *)heap_address(run.first), MIB(1)), 0);
}

Test(scavenge, never_is_never, .init = never)
{
	dirt(MIB(40));
	cr_assert_not(is_due() || is_help_wanted());
	cr_assert_eq(dirty(), MIB(40) / PAGE_BYTES);
	cr_assert_eq(scavenge_all(), MIB(40), "unless malloc_trim asks");
}

Test(scavenge, malloc_trim_looks_into_spans_even_then, .init = never)
{
	static char *blocks[1024];

	for (unsigned i = 0; i < 1024; i++)
		blocks[i] = cache_alloc(1024);
	for (unsigned i = 1; i < 1024; i++)
		if (i % 64)
			cache_free(blocks[i]);
	cache_empty_own();
	cr_assert_geq(scavenge_all(), KIB(700));
}

Test(scavenge, without_a_helper_the_programs_calls_give_back_what_is_old)
{
	knobs.release_delay_ms = 64;
	knobs.background = KNOB_BACKGROUND_OFF;
	core_start();
	dirt(MIB(20));
	for (int i = 0; i < 2000 && dirty() > KIB(400) / PAGE_BYTES; i++) {
		sleep_ms(5);
		/* At the front of the heap, where dirt is made; 64 pages stay young by it. */
		cache_free(large_alloc(KIB(400), 1));
		slow_call();
	}
	cr_assert_leq(dirty(), 128);
	cr_assert_not(is_help_wanted());
}

Test(scavenge, without_a_helper_young_pages_stay)
{
	knobs.release_delay_ms = 3600 * 1000;
	knobs.background = KNOB_BACKGROUND_OFF;
	core_start();
	for (int i = 0; i < 10; i++) {
		dirt(MIB(20));
		sleep_ms(2);
	}
	cr_assert_eq(dirty(), MIB(20) / PAGE_BYTES);
}
