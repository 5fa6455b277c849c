/* magazine.c: a thread's magazines: how they grow and shrink, refills, flushes, lack of memory. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "tests/unit/cache.h"

Test(magazine, a_magazine_begins_small_and_grows, .init = core_start)
{
	unsigned first, cap;

	fill(0, 1, BYTES);
	first = cap = cap_of(BYTES);
	cr_assert_leq(first, 16);
	cr_assert_lt(slots_of(BYTES), first);
	for (unsigned i = 1; i < 1000; i++) {
		fill(i, i + 1, BYTES);
		cap = cap_of(BYTES);
		cr_assert_lt(slots_of(BYTES), cap);
	}
	cr_assert_geq(cap, 2 * first);
	cr_assert_lt(cap, MAGAZINE_SLOTS);
}

Test(magazine, the_newest_slot_is_used_first, .init = core_start)
{
	fill(0, 3, BYTES);
	cache_free(blocks[0]);
	cache_free(blocks[1]);
	cr_assert_eq(cache_alloc(BYTES), blocks[1]);
	cr_assert_eq(cache_alloc(BYTES), blocks[0]);
}

Test(magazine, a_full_magazine_takes_no_more_and_loses_nothing, .init = core_start)
{
	unsigned n = 0, cap;

	fill(0, 400, BYTES);
	cap = cap_of(BYTES);
	while (slots_of(BYTES) < cap)
		cache_free(blocks[n++]);
	cache_free(blocks[n++]);
	cr_assert_leq(slots_of(BYTES), cap);
	cr_assert_gt(slots_of(BYTES), 0);
	core_verify();

	page_idx used = core_used_pages();

	fill(0, n, BYTES);
	cr_assert_eq(core_used_pages(), used);
	drain(0, 400);
	cr_assert(core_returns_all_pages());
}

/* Fills all blocks; the most that their magazine takes meanwhile (less where a span ends). */
static unsigned fill_all(size_t nbytes)
{
	unsigned most = 0;

	for (unsigned i = 0; i < MAX; i++) {
		fill(i, i + 1, nbytes);
		most = cap_of(nbytes) > most ? cap_of(nbytes) : most;
	}
	return most;
}

Test(magazine, a_magazine_shrinks_when_much_becomes_free, .init = core_start)
{
	unsigned cap = fill_all(BIG);

	drain(0, MAX / 2);
	cr_assert_gt(cap_of(BIG), cap / 2, "many are out still");
	drain(MAX / 2, MAX);
	cr_assert_lt(cap_of(BIG), cap / 2);
	cr_assert_eq(fill_all(BIG), cap, "and grows again");
	drain(0, MAX);
	cr_assert(core_returns_all_pages());
}

ParameterizedTestParameters(magazine, blocks_of_every_size_are_apart_and_come_back)
{
	static size_t sizes[] = { 4, 16, 17, 48, 128, 129, 1000, 1024, 1025, 5000, 8192, 12000,
	                          20000, 32768 };

	return cr_make_param_array(size_t, sizes, sizeof sizes / sizeof *sizes);
}

ParameterizedTest(size_t *nbytes, magazine, blocks_of_every_size_are_apart_and_come_back,
                  .init = core_start)
{
	unsigned n = (unsigned)(MIB(16) / *nbytes) < MAX ? (unsigned)(MIB(16) / *nbytes) : MAX;

	for (int round = 0; round < 3; round++) {
		fill(0, n, *nbytes);
		core_verify();
		drain(0, n);
		core_verify();
		cr_assert_leq(slots_of(*nbytes) * *nbytes, KIB(64), "no hoarding");
	}
	cr_assert(core_returns_all_pages());
}

Test(magazine, emptying_a_threads_own_magazines_is_for_threads_with_some, .init = core_start)
{
	cache_empty_own();
	fill(0, 100, BYTES);
	drain(0, 100);
	cr_assert_gt(slots_of(BYTES), 0);
	cache_empty_own();
	cr_assert_eq(slots_of(BYTES), 0);
}
