/* limit.c: above SPANGC_MEMORY_LIMIT: what goes back at once, and how often that is tried. */
#include <criterion/criterion.h>

#include "tests/unit/scavenge.h"

static void start_limited(void)
{
	knobs.memory_limit_bytes = MIB(10);
	knobs.release_delay_ms = KNOB_NEVER;    /* does not matter */
	core_start();
}

Test(limit, above_the_memory_limit_free_pages_go_at_once)
{
	knobs.memory_limit_bytes = MIB(12);     /* 1 MiB of records counts too */
	core_start();

	char *p = large_alloc(MIB(8), 1);

	dirt(MIB(1));
	cr_assert_eq(dirty(), MIB(1) / PAGE_BYTES, "below the limit");
	dirt(MIB(6));
	slow_call();
	cr_assert_leq(dirty(), MIB(3) / PAGE_BYTES, "above");
	memset(p, 1, MIB(8));
	cache_free(p);
	slow_call();
	cr_assert_leq(dirty(), MIB(11) / PAGE_BYTES);
	core_verify();
}

Test(limit, above_the_memory_limit_spans_are_trimmed, .init = start_limited)
{
	static char *blocks[4][4096];

	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 4096; i++) {
			blocks[round][i] = cache_alloc(1024 + 256 * round);
			pattern_fill(blocks[round][i], 1024, i);
			slow_call();
		}
		for (unsigned i = 0; i < 4096; i++)
			if (i % 16)             /* no span becomes free */
				cache_free(blocks[round][i]);
		cache_empty_own();
	}
	dirt(MIB(1));
	slow_call();
	cr_assert_gt(counted(&live.released_bytes), MIB(6));
	cr_assert_gt(counted(&live.trimmed_bytes), MIB(6));
	for (unsigned round = 0; round < 4; round++)
		for (unsigned i = 0; i < 4096; i += 16)
			cr_assert(pattern_holds(blocks[round][i], 1024, i));
	core_verify();
}

/* A program above its limit for good: rounds are few, whatever it does. */
Test(limit, a_heap_that_outgrows_its_limit_is_not_searched_all_the_time, .init = start_limited)
{
	for (unsigned i = 0; i < 60000; i++) {
		cr_assert(cache_alloc(1024));
		slow_call();
	}
	cr_assert_lt(counted(&scavenge_counts.nrounds), 300);
}
