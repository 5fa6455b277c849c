/* large.h: blocks above SIZECLASS_MAX, or aligned beyond what slots can be: pages of their own.
 *
 * A block's span is touched only by whoever holds the block, as its memory is: no lock.
 */
#ifndef CORE_LARGE_H
#define CORE_LARGE_H

#include "core/base.h"
#include "core/span.h"

/* `align` is a power of two. NULL: no memory. ctx: alloc */
void *large_alloc(size_t nbytes, size_t align);

/* The same, zeroed: pages known to be zero are not touched. ctx: alloc */
void *large_calloc(size_t nbytes);

/* Its granule is already clear. ctx: alloc */
void large_free(void *p);

/* The same of an unreached block whose granule the sweep has claimed: without a thread's own cache.
 * Its bytes. ctx: alloc, no lock above LOCK_CENTRAL, signals blocked */
size_t large_reclaim(void *p);

/* Makes the block hold nbytes > SIZECLASS_MAX, if need be elsewhere: by adding free pages behind
 * it, by moving its pages, at last by copying. NULL: no memory, and nothing changed. ctx: alloc */
void *large_resize(void *p, size_t nbytes);

/* What large_alloc(nbytes) makes usable. */
static inline size_t large_round(size_t nbytes)
{
	return nbytes ? align_up(nbytes, PAGE_BYTES) : PAGE_BYTES;
}

static inline size_t large_usable(const struct span *s)
{
	return (size_t)s->npages << PAGE_SHIFT;
}

#endif
