/* meta.c: memory for records and tables: zero, apart from each other, refused without harm. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

#include "tests/core.h"

static bool is_zero(const void *p, size_t nbytes)
{
	const char *bytes = p;

	return bytes[0] == 0 && memcmp(bytes, bytes + 1, nbytes - 1) == 0;
}

Test(meta, records_are_zero_aligned_and_apart)
{
	uintptr_t end = 0;

	for (unsigned i = 0; i < 3000; i++) {
		size_t nbytes = 1 + i * 7 % 500, alignment = (size_t)1 << i % 13;
		char *p = meta_alloc(nbytes, alignment);

		cr_assert_not_null(p);
		cr_assert_eq((uintptr_t)p % alignment, 0);
		cr_assert(is_zero(p, nbytes), "record %u", i);
		cr_assert((uintptr_t)p >= end || (uintptr_t)p + nbytes <= end - 500);
		memset(p, 1, nbytes);
		end = (uintptr_t)p + nbytes;
	}
}

Test(meta, a_record_may_be_larger_than_a_block)
{
	size_t before = meta_bytes();
	char *p = meta_alloc(MIB(1) + 1, 64);

	cr_assert_not_null(p);
	memset(p, 1, MIB(1) + 1);
	cr_assert_geq(meta_bytes() - before, MIB(1) + 1);
	cr_assert(is_zero(meta_alloc(64, 64), 64));
}

Test(meta, a_refused_record_is_null_and_the_next_one_is_there)
{
	size_t before = meta_bytes();
	void *p;

	core_refuse_memory(true);
	p = meta_alloc(MIB(1), 64);
	core_refuse_memory(false);
	cr_assert_null(p);
	cr_assert_eq(meta_bytes(), before);
	cr_assert_not_null(meta_alloc(MIB(1), 64));
}

static struct os_region space;
static struct meta_table first, second;

static void tables(void)
{
	cr_assert_eq(os_reserve(&space, MIB(4), MIB(4), MIB(2)), 0);
	meta_table_init(&first, &space, MIB(1));
	meta_table_init(&second, &space, 100);
}

Test(meta, tables_lie_one_behind_the_other, .init = tables)
{
	cr_assert_eq(second.region.base, first.region.base + MIB(1));
	cr_assert_eq(space.base, second.region.base + KIB(64), "whole steps");
	cr_assert_eq(space.nbytes, MIB(3) - KIB(64));
}

Test(meta, a_table_grows_from_the_front, .init = tables)
{
	char *bytes = (char *)first.region.base;
	size_t before = meta_bytes();

	cr_assert(meta_table_cover(&first, 1, "test"));
	cr_assert_eq(meta_bytes() - before, KIB(64));
	memset(bytes, 1, KIB(64));
	cr_assert(meta_table_cover(&first, KIB(64), "test"));
	cr_assert_eq(meta_bytes() - before, KIB(64), "it was there");
	cr_assert(meta_table_cover(&first, KIB(64) + 1, "test"));
	cr_assert(is_zero(bytes + KIB(64), KIB(64)));
	cr_assert_eq(bytes[0], 1);
	cr_assert(meta_table_cover(&first, MIB(1), "test"));
	memset(bytes, 2, MIB(1));
}

Test(meta, a_refused_table_stays_as_it_was, .init = tables)
{
	bool is_covered;

	cr_assert(meta_table_cover(&first, KIB(64), "test"));
	core_refuse_memory(true);
	is_covered = meta_table_cover(&first, KIB(128), "test");
	core_refuse_memory(false);
	cr_assert_not(is_covered);
	cr_assert_eq(first.committed, KIB(64));
	cr_assert(meta_table_cover(&first, KIB(128), "test"));
}
