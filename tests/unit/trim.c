/* trim.c: os pages inside spans go back where no block is, and count again when used. */
#include <criterion/criterion.h>

#include "tests/unit/scavenge.h"

Test(trim, os_pages_inside_spans_go_where_no_block_is, .init = core_start)
{
	static char *blocks[4096];

	for (unsigned i = 0; i < 4096; i++) {
		blocks[i] = cache_alloc(1024);
		pattern_fill(blocks[i], 1024, i);
	}
	for (unsigned i = 0; i < 4096; i++)
		if (i % 16)                     /* one in 16 KiB is left */
			cache_free(blocks[i]);
	cache_empty_own();

	size_t nbytes = scavenge_all();

	cr_assert_geq(nbytes, MIB(2));
	cr_assert_leq(nbytes, MIB(3));
	for (unsigned i = 0; i < 4096; i += 16)
		cr_assert(pattern_holds(blocks[i], 1024, i), "block %u", i);
	cr_assert_eq(scavenge_all(), 0, "once");
	for (unsigned i = 0; i < 4096; i++) {
		if (i % 16)
			blocks[i] = cache_alloc(1024);
		pattern_fill(blocks[i], 1024, i + 1);
	}
	for (unsigned i = 0; i < 4096; i++)
		cr_assert(pattern_holds(blocks[i], 1024, i + 1), "block %u", i);
	core_verify();
}

Test(trim, what_was_trimmed_is_resident_again_when_it_is_used, .init = core_start)
{
	static void *blocks[4096];

	for (unsigned i = 0; i < 4096; i++)
		blocks[i] = cache_alloc(1024);
	for (unsigned i = 0; i < 4096; i++)
		if (i % 16)
			cache_free(blocks[i]);
	cache_empty_own();
	scavenge_all();

	uint64_t trimmed = counted(&live.trimmed_bytes);

	cr_assert_geq(trimmed, MIB(2));
	cr_assert_leq(trimmed, counted(&live.released_bytes));
	scavenge_fork_child();
	cr_assert_eq(counted(&live.released_bytes), 0, "events begin anew");
	cr_assert_eq(counted(&live.trimmed_bytes), trimmed, "what is does not");
	for (unsigned i = 0; i < 2048; i++)
		if (i % 16)
			blocks[i] = cache_alloc(1024);
	cr_assert_lt(counted(&live.trimmed_bytes), trimmed / 4 * 3);
	for (unsigned i = 0; i < 4096; i++)
		if (i < 2048 || i % 16 == 0)
			cache_free(blocks[i]);
	cache_empty_own();
	scavenge_all();
	cr_assert_eq(counted(&live.trimmed_bytes), 0, "in no span");
	core_verify();
}
