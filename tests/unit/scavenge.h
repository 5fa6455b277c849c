/* scavenge.h: what the tests of giving memory back share.
 *
 * Used by tests/unit/{scavenge,helper,limit,trim,discard}.c.
 */
#ifndef TESTS_UNIT_SCAVENGE_H
#define TESTS_UNIT_SCAVENGE_H

#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>

#include "core/discard.h"
#include "core/live.h"
#include "tests/check.h"
#include "tests/core.h"

static inline uint64_t counted(_Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static inline page_idx dirty(void)
{
	return pages_ndirty(&heap.pages);
}

static inline bool is_due(void)
{
	return atomic_load_explicit(&scavenge_is_due, memory_order_relaxed);
}

static inline bool is_help_wanted(void)
{
	return atomic_load_explicit(&helper_is_wanted, memory_order_relaxed);
}

/* Allocates, fills and frees a large block; where it was. */
static inline char *dirt(size_t nbytes)
{
	char *p = large_alloc(nbytes, 1);

	cr_assert_not_null(p);
	memset(p, 1, nbytes);
	cache_free(p);
	return p;
}

/* On this occasion what is due is done. */
static inline void slow_call(void)
{
	scavenge_poll(slow_call);
}

/* os pages of the range that the kernel holds memory for. */
static inline size_t nresident(const void *p, size_t nbytes)
{
	static unsigned char vec[MIB(64) / OS_PAGE_BYTES];
	size_t n = 0;

	cr_assert_eq(mincore((void *)p, nbytes, vec), 0);
	for (size_t i = 0; i < nbytes / OS_PAGE_BYTES; i++)
		n += vec[i] & 1;
	return n;
}

#endif
