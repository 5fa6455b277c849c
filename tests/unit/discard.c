/* discard.c: how memory goes back to the kernel, what goes with it, and what the kernel refuses. */
#include <criterion/criterion.h>

#include "tests/unit/scavenge.h"

static void start_lazy(void)
{
	knobs.madvise = KNOB_MADVISE_FREE;
	core_start();
}

Test(discard, lazily_freed_pages_are_counted_apart, .init = start_lazy)
{
	dirt(MIB(4));
	cr_assert_eq(scavenge_all(), MIB(4));
	cr_assert_eq(heap.pages.nlazy, MIB(4) / PAGE_BYTES);
	cr_assert_eq(counted(&discard_counts.nlazy), 1);
	cr_assert_eq(counted(&live.lazy_bytes), MIB(4));
	cr_assert_eq(counted(&discard_counts.ndiscards), 0);
	cr_assert_eq(scavenge_all(), 0);
}

Test(discard, the_state_bytes_of_free_pages_go_too, .init = core_start)
{
	char *p = dirt(MIB(4));
	char *granules = (char *)heap_granule((uintptr_t)p);

	for (size_t i = 0; i < MIB(4) / 16; i++)
		granules[i] = 0;                /* touched, as blocks would have */
	scavenge_all();
	cr_assert_eq(counted(&discard_counts.ntable_discards), 1);
	cr_assert_eq(counted(&live.table_bytes), MIB(4) / 16);
	cr_assert_eq(nresident(granules, MIB(4) / 16), 0);
}

Test(discard, the_state_bytes_of_neighbours_stay, .init = core_start)
{
	static void *blocks[9000];

	for (unsigned i = 0; i < 9000; i++)
		blocks[i] = cache_alloc(100);
	dirt(PAGE_BYTES * 77);
	for (unsigned i = 0; i < 9000; i++)
		if (i / 1000 % 2)
			cache_free(blocks[i]);
	cache_empty_own();
	scavenge_all();
	for (unsigned i = 0; i < 9000; i++)
		cr_assert_eq(*heap_granule((uintptr_t)blocks[i]) != 0, i / 1000 % 2 == 0);
	core_verify();
}

Test(discard, what_the_kernel_refuses_stays_dirty, .init = core_start)
{
	char *p = dirt(MIB(1));

	if (CORE_HAS_ASAN || mlock(p, OS_PAGE_BYTES))
		cr_skip("mlock is not allowed here");
	cr_assert_eq(scavenge_all(), 0);
	cr_assert_gt(counted(&discard_counts.nfailed), 0);
	cr_assert_eq(dirty(), MIB(1) / PAGE_BYTES);
	core_verify();
	munlock(p, OS_PAGE_BYTES);
	cr_assert_eq(scavenge_all(), MIB(1));
}
