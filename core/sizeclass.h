/* sizeclass.h: which slots serve a request, and how a span of such slots is laid out.
 *
 * Two sets of classes: one of multiples of 16 bytes, used unless SPANGC_MIN_ALIGN=8, and one of
 * multiples of 8. All is constant, made by scripts/gen-sizeclasses. A span class (class_idx) is
 * a size class, scanned by the collector or not, and numbered alike in both sets:
 *
 *     0                                     none
 *     1 .. SIZECLASS_COUNT                  size classes, scanned; those above set->count unused
 *     SIZECLASS_COUNT + the above           the same, not scanned
 *     SIZECLASS_LARGE                       one object in pages of its own
 *
 * A granule may also hold SIZECLASS_RECLAIMED: of a free slot which the collector reclaimed.
 */
#ifndef CORE_SIZECLASS_H
#define CORE_SIZECLASS_H

#include "core/base.h"
#include "core/report.h"
#include "core/sizeclass_table.h"

#define SIZECLASS_NONE 0
#define SIZECLASS_LARGE (2 * SIZECLASS_COUNT + 1)
#define SIZECLASS_NALL (SIZECLASS_LARGE + 1)    /* entries of an array indexed by class_idx */
#define SIZECLASS_RECLAIMED 255
#define SIZECLASS_MAX_WORDS (SIZECLASS_MAX_SLOTS / 64)
#define SIZECLASS_NBIG (((SIZECLASS_MAX - SIZECLASS_SMALL) >> SIZECLASS_BIG_SHIFT) + 1)

struct sizeclass {
	uint32_t slot_bytes;
	uint32_t recip;                         /* see sizeclass_slot() */
	uint16_t nslots;
	uint8_t  npages;                        /* of a span */
	uint8_t  nwords;                        /* of a bitmap with one bit a slot */
	uint8_t  mag_cap;                       /* slots in a full magazine */
};

struct sizeclass_set {
	/* All 0 where there is no class, and for LARGE. */
	_Alignas(CACHE_LINE) struct sizeclass class[SIZECLASS_NALL];
	uint8_t small[SIZECLASS_SMALL + 1];     /* bytes -> class */
	uint8_t big[SIZECLASS_NBIG];            /* (bytes above SIZECLASS_SMALL) / 128 -> class */
	uint8_t count;                          /* size classes in use */
	uint8_t granule_shift;                  /* every slot_bytes is a multiple of 1 << this */
};

extern const struct sizeclass_set sizeclass_set16;
extern const struct sizeclass_set sizeclass_set8;

/* The scanned class with the smallest slot that holds n <= SIZECLASS_MAX bytes; never 0.
 * ctx: any, signal */
HOT class_idx sizeclass_of_in(const struct sizeclass_set *set, size_t n)
{
	dcheck(n <= SIZECLASS_MAX);
	if (likely(n <= SIZECLASS_SMALL))
		return set->small[n];
	return set->big[(n - SIZECLASS_SMALL + (1u << SIZECLASS_BIG_SHIFT) - 1)
	                >> SIZECLASS_BIG_SHIFT];
}

/* The same for n <= SIZECLASS_SMALL in the usual set: one load. ctx: any, signal */
HOT class_idx sizeclass_of_small(size_t n)
{
	return sizeclass_set16.small[n];
}

/* The same in the usual set, whose address the compiler knows. ctx: any, signal */
HOT class_idx sizeclass_of(size_t n)
{
	return sizeclass_of_in(&sizeclass_set16, n);
}

/* The class with the smallest slot that holds n <= SIZECLASS_MAX bytes and begins at a multiple
 * of `align` (a power of two) in every span; SIZECLASS_NONE if there is none. ctx: any, signal */
class_idx sizeclass_aligned(const struct sizeclass_set *set, size_t n, size_t align);

/* Which slot of a span of class `c` the offset falls into; nslots or more in the span's tail.
 * Exact for every offset in the span. ctx: any, signal */
HOT unsigned sizeclass_slot(const struct sizeclass *c, size_t offset)
{
	dcheck(offset < c->npages * PAGE_BYTES);
	return (unsigned)(offset * (uint64_t)c->recip >> 32);
}

/* ctx: any, signal */
HOT class_idx sizeclass_noscan(class_idx scanned)
{
	return (class_idx)(scanned + SIZECLASS_COUNT);
}

/* Does a granule that holds this say that a block starts there? ctx: any, signal */
HOT bool sizeclass_is_block(class_idx c)
{
	return (class_idx)(c - 1) < SIZECLASS_LARGE;
}

/* Of a span class that is neither none nor LARGE. ctx: any, signal */
HOT bool sizeclass_is_noscan(class_idx c)
{
	return c > SIZECLASS_COUNT;
}

#endif
