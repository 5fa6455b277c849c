/* pages_summary.h: the tree over the page bitmaps. For pages.c and its tests only.
 *
 * Entry i of level l sums up the pages [i << shift, (i + 1) << shift), shift being
 * pages_summary_shift[l]. A summary is one word of three 21-bit counts: free pages in a row at
 * the range's start, at its end, and the most anywhere in it. Entries beyond the heap are 0.
 */
#ifndef CORE_PAGES_SUMMARY_H
#define CORE_PAGES_SUMMARY_H

#include "core/pages.h"

#define CHUNK_WORDS (PAGES_CHUNK / 64)

/* Guarded as struct pages is. A line for each map: a search reads only the first. */
struct pages_chunk {
	_Alignas(CACHE_LINE) uint64_t free[CHUNK_WORDS];
	uint64_t clean[CHUNK_WORDS];
	uint64_t lazy[CHUNK_WORDS];
	uint64_t fresh[CHUNK_WORDS];
	uint32_t freed_at[CHUNK_WORDS];         /* tick of a group's last dirty free */
};

extern const uint8_t pages_summary_shift[PAGES_LEVELS];

#define SUMMARY_BITS 21                         /* counts up to 2^20, the root's range */

static inline uint64_t summary_make(uint64_t start, uint64_t max, uint64_t end)
{
	return start | max << SUMMARY_BITS | end << 2 * SUMMARY_BITS;
}

static inline page_idx summary_start(uint64_t s)
{
	return (page_idx)(s & bit_range(0, SUMMARY_BITS));
}

static inline page_idx summary_max(uint64_t s)
{
	return (page_idx)(s >> SUMMARY_BITS & bit_range(0, SUMMARY_BITS));
}

static inline page_idx summary_end(uint64_t s)
{
	return (page_idx)(s >> 2 * SUMMARY_BITS);
}

/* Ones at the low end of the word, 0..64. */
static inline unsigned bits_low(uint64_t word)
{
	return ~word ? bit_first(~word) : 64;
}

/* Ones at the high end of the word, 0..64. */
static inline unsigned bits_high(uint64_t word)
{
	return ~word ? (unsigned)__builtin_clzll(~word) : 64;
}

/* Divides `memory` into the levels and the bitmap of chunks with dirty pages. ctx: init */
void pages_summary_init(struct pages *p, void *memory);

/* The same for another capacity, with what was in the old memory. ctx: alloc, LOCK_PAGES */
void pages_summary_move(struct pages *p, void *memory, page_idx capacity);

/* The bitmaps of the chunks [chunk, chunk_limit) changed: brings what is above them up to date.
 * ctx: alloc, LOCK_PAGES */
void pages_summary_update(struct pages *p, page_idx chunk, page_idx chunk_limit);

/* The lowest run of `npages` free pages at or after `from`; PAGE_NONE if there is none.
 * ctx: alloc, LOCK_PAGES */
page_idx pages_summary_find(const struct pages *p, page_idx from, page_idx npages);

/* Checks P3. ctx: alloc, LOCK_PAGES */
void pages_summary_verify(const struct pages *p);

#endif
