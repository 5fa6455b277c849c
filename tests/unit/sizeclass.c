/* sizeclass.c: what became of the generated rows: every size, every class, every offset. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "core/sizeclass.h"

static const struct sizeclass_set *sets[] = { &sizeclass_set16, &sizeclass_set8 };

/* 0 and 1 are the two sets. */
#define FOR_BOTH_SETS(name)                                                                  \
	ParameterizedTestParameters(sizeclass, name)                                         \
	{                                                                                    \
		static int which[] = { 0, 1 };                                               \
		return cr_make_param_array(int, which, 2);                                   \
	}                                                                                    \
	ParameterizedTest(int *which, sizeclass, name)

FOR_BOTH_SETS(a_size_gets_the_smallest_slot_that_holds_it)
{
	const struct sizeclass_set *set = sets[*which];

	for (size_t n = 0; n <= SIZECLASS_MAX; n++) {
		class_idx c = sizeclass_of_in(set, n);

		cr_assert(c >= 1 && c <= set->count, "%zu", n);
		cr_assert(set->class[c].slot_bytes >= n, "%zu", n);
		cr_assert(c == 1 || set->class[c - 1].slot_bytes < n, "%zu", n);
	}
}

FOR_BOTH_SETS(at_most_an_eighth_of_a_slot_is_wasted)
{
	const struct sizeclass_set *set = sets[*which];

	for (size_t n = 129; n <= SIZECLASS_MAX; n++) {
		size_t slot = set->class[sizeclass_of_in(set, n)].slot_bytes;

		cr_assert((slot - n) * 8 <= slot, "%zu", n);
	}
	for (size_t n = 1; n <= 128; n++)
		cr_assert_eq(set->class[sizeclass_of_in(set, n)].slot_bytes,
		             align_up(n, 1u << set->granule_shift));
}

FOR_BOTH_SETS(a_span_holds_its_slots)
{
	const struct sizeclass_set *set = sets[*which];

	for (class_idx i = 1; i <= set->count; i++) {
		const struct sizeclass *c = &set->class[i];
		size_t span_bytes = c->npages * PAGE_BYTES;
		size_t used = (size_t)c->nslots * c->slot_bytes;

		cr_assert_eq(c->slot_bytes % (1u << set->granule_shift), 0);
		cr_assert(c->nslots >= 8 && c->nslots <= SIZECLASS_MAX_SLOTS);
		cr_assert_eq(c->nwords, (c->nslots + 63) / 64);
		cr_assert(used <= span_bytes);
		/* 8-byte slots: 512 of them are one os page, the other is never touched. */
		cr_assert((span_bytes - used) * 8 <= span_bytes || used == OS_PAGE_BYTES);
		cr_assert(span_bytes <= 64 * 1024 || c->nslots == 8);
	}
}

FOR_BOTH_SETS(a_magazine_hoards_little)
{
	const struct sizeclass_set *set = sets[*which];

	for (class_idx i = 1; i <= set->count; i++) {
		const struct sizeclass *c = &set->class[i];

		cr_assert(c->mag_cap >= 2 && c->mag_cap <= 127);
		cr_assert(c->mag_cap * c->slot_bytes <= 64 * 1024);
		cr_assert(i == 1 || c->mag_cap <= set->class[i - 1].mag_cap);
	}
}

FOR_BOTH_SETS(every_offset_finds_its_slot)
{
	const struct sizeclass_set *set = sets[*which];

	for (class_idx i = 1; i <= set->count; i++) {
		const struct sizeclass *c = &set->class[i];

		for (size_t offset = 0; offset < c->npages * PAGE_BYTES; offset++)
			cr_assert_eq(sizeclass_slot(c, offset), offset / c->slot_bytes,
			             "%u bytes, %zu", c->slot_bytes, offset);
	}
}

FOR_BOTH_SETS(a_noscan_class_is_laid_out_like_its_twin)
{
	static const struct sizeclass none;
	const struct sizeclass_set *set = sets[*which];

	for (class_idx c = 1; c <= SIZECLASS_COUNT; c++) {
		cr_assert(!sizeclass_is_noscan(c) && sizeclass_is_noscan(sizeclass_noscan(c)));
		cr_assert(!memcmp(&set->class[c], &set->class[sizeclass_noscan(c)], sizeof none));
		cr_assert(c <= set->count || !memcmp(&set->class[c], &none, sizeof none));
	}
	cr_assert(sizeclass_noscan(SIZECLASS_COUNT) < SIZECLASS_LARGE);
	cr_assert(!memcmp(&set->class[SIZECLASS_NONE], &none, sizeof none));
	cr_assert(!memcmp(&set->class[SIZECLASS_LARGE], &none, sizeof none));
}

/* The slots of every span of the class: page-aligned base plus multiples of slot_bytes. */
static bool has_aligned_slots(const struct sizeclass *c, size_t align)
{
	for (unsigned slot = 0; slot < c->nslots; slot++)
		if ((PAGE_BYTES + (size_t)slot * c->slot_bytes) % align)
			return false;
	return true;
}

FOR_BOTH_SETS(an_aligned_size_gets_the_smallest_slot_that_is_aligned)
{
	const struct sizeclass_set *set = sets[*which];

	for (size_t align = 1; align <= 4 * PAGE_BYTES; align *= 2) {
		for (size_t n = 0; n <= SIZECLASS_MAX; n += n < 300 ? 1 : 61) {
			class_idx c = sizeclass_of_in(set, n);

			while (c <= set->count && (align > PAGE_BYTES
			                           || !has_aligned_slots(&set->class[c], align)))
				c++;
			cr_assert_eq(sizeclass_aligned(set, n, align), c <= set->count ? c : 0,
			             "%zu bytes at %zu", n, align);
		}
	}
}

Test(sizeclass, a_page_aligned_request_is_served_by_a_class)
{
	class_idx c = sizeclass_aligned(&sizeclass_set16, 1, 4096);

	cr_assert_eq(sizeclass_set16.class[c].slot_bytes, 4096);
	c = sizeclass_aligned(&sizeclass_set16, 28673, 8192);
	cr_assert_eq(sizeclass_set16.class[c].slot_bytes, 32768);
	cr_assert_eq(sizeclass_aligned(&sizeclass_set16, 1, 16384), SIZECLASS_NONE);
}
