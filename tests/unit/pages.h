/* pages.h: what the tests of the page level share: a heap of 4 chunks, all taken or all free.
 *
 * Used by tests/unit/{pages,pages_cache,pages_age}.c. Runs are written [first, limit) in pages.
 * Most tests begin with all pages taken and free what they need, so that every fit is the one that
 * was made.
 */
#ifndef TESTS_UNIT_PAGES_H
#define TESTS_UNIT_PAGES_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/pages_summary.h"

#define CHUNK PAGES_CHUNK
#define HEAP (4 * CHUNK)
#define BIG (UINT32_C(3) << 20)                 /* more than two entries of the root */

static struct pages p;
static struct pages_mix mix;

static inline void *zeroed(size_t nbytes)
{
	nbytes = align_up(nbytes, CACHE_LINE);
	return memset(aligned_alloc(CACHE_LINE, nbytes), 0, nbytes);
}

static inline void empty_of(page_idx capacity)
{
	pages_init(&p, zeroed((capacity / CHUNK + 1) * pages_chunk_bytes()),
	           zeroed(pages_summary_bytes(capacity)), capacity);
}

static inline void full_of(page_idx npages)
{
	empty_of(npages);
	pages_grow(&p, npages);
	cr_assert_eq(pages_alloc(&p, npages, 1, &mix), 0);
}

static inline void full(void)
{
	full_of(HEAP);
}

static inline void full_big(void)
{
	full_of(BIG);
}

static inline void grown(void)
{
	empty_of(HEAP);
	pages_grow(&p, HEAP);
}

static inline void free_dirty(page_idx first, page_idx limit, uint32_t now)
{
	pages_free(&p, first, limit - first, PAGES_DIRTY, now);
}

#endif
