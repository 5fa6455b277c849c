/* sizeclass.c: the tables of sizeclass.h, filled from core/sizeclass_table.h.
 *
 * Constant data and one search; no lock, no system call. scripts/gen-sizeclasses proves the rows
 * before it prints them, tests/unit/sizeclass.c checks what became of them.
 */
#include "core/sizeclass.h"

_Static_assert(SIZECLASS_LARGE <= 159, "class numbers above 159 are not ours to use");
_Static_assert(sizeof(struct sizeclass) == 16, "four classes in a cache line");

#define GEOMETRY(slot_bytes, recip, npages, nslots, nwords, mag_cap) \
	{ slot_bytes, recip, nslots, npages, nwords, mag_cap }
#define CLASS_ROW(c, first, last, ...) \
	[c] = GEOMETRY(__VA_ARGS__), [SIZECLASS_COUNT + (c)] = GEOMETRY(__VA_ARGS__),
#define INDEX_ROW(c, first, last, ...) [first ... last] = (c),

/* Entry 0 of `big` is SIZECLASS_SMALL itself, which the table of small sizes answers. */
const struct sizeclass_set sizeclass_set16 = {
	.class = { SIZECLASS_SMALL_16(CLASS_ROW) SIZECLASS_BIG_16(CLASS_ROW) },
	.small = { SIZECLASS_SMALL_16(INDEX_ROW) },
	.big = { SIZECLASS_BIG_16(INDEX_ROW) },
	.count = SIZECLASS_COUNT_16,
	.granule_shift = 4,
};

const struct sizeclass_set sizeclass_set8 = {
	.class = { SIZECLASS_SMALL_8(CLASS_ROW) SIZECLASS_BIG_8(CLASS_ROW) },
	.small = { SIZECLASS_SMALL_8(INDEX_ROW) },
	.big = { SIZECLASS_BIG_8(INDEX_ROW) },
	.count = SIZECLASS_COUNT_8,
	.granule_shift = 3,
};

class_idx sizeclass_aligned(const struct sizeclass_set *set, size_t n, size_t align)
{
	/* A span begins at a page: only there, and at multiples from there, is a slot aligned. */
	if (align > PAGE_BYTES)
		return SIZECLASS_NONE;
	for (class_idx c = sizeclass_of_in(set, n); c <= set->count; c++)
		if (set->class[c].slot_bytes % align == 0)
			return c;
	return SIZECLASS_NONE;
}
