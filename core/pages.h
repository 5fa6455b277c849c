/* pages.h: which pages of the heap are free, and what the kernel holds behind them.
 *
 * A bitmap with a radix tree of summaries over it (after Go's runtime/mpagealloc.go): each
 * summary says how many free pages its range begins with, ends with, and has at most in a row,
 * so that a run is found by walking down a few levels, whatever the heap's size. The run with
 * the lowest address that fits is taken, which keeps the heap's tail empty.
 *
 * A page is used or free; a free page is also one of
 *     dirty     the kernel holds memory for it, contents unknown
 *     clean     given back with MADV_DONTNEED, or fresh: no memory, reads as zero
 *       fresh   handed out to nobody so far
 *     lazy      given back with MADV_FREE: contents unknown, memory until the kernel takes it
 *
 *     used  -> free         pages_free, pages_cache_return
 *     free  -> used         pages_alloc, pages_take, pages_take_dirty, pages_cache_claim
 *     (none) -> free, fresh pages_grow
 * Pages in a pages_cache count as used here. Dirty pages become clean or lazy by pages_take_dirty,
 * madvise without the lock, and pages_free with the new kind.
 *
 * Passive data: no lock, no system call, no clock. Whoever shares it holds LOCK_PAGES; a
 * pages_cache belongs to one thread, and pages_cache_alloc and pages_cache_free need no lock.
 * `now` and cutoffs are coarse ticks of the caller's (one tick = PAGES_TICK_MS milliseconds, may
 * wrap). Ages are kept for groups of 64 pages: a group is as young as the page last freed dirty
 * in it. After 2^31 ticks (over a year) without such a free a group looks young again.
 *
 * Invariants, checked by pages_verify():
 *   P1  a clean or lazy page is free, and none is both; a fresh page is clean;
 *   P2  no page at or beyond npages is free, no page below hint is;
 *   P3  every summary is what its bitmap or its children say;
 *   P4  nfree, nclean, nlazy and nfresh count the bits; a chunk's dirty bit says whether it has any.
 */
#ifndef CORE_PAGES_H
#define CORE_PAGES_H

#include "core/base.h"
#include "core/report.h"

#define PAGES_GROUP 64                          /* pages of one bitmap word, one age, one cache */
#define PAGES_CHUNK_SHIFT 9                     /* 512 pages, 4 MiB: one leaf of the tree */
#define PAGES_CHUNK (1u << PAGES_CHUNK_SHIFT)
#define PAGES_GROW 128                          /* the heap grows by multiples of this, 1 MiB */
#define PAGES_HUGE (HUGE_PAGE_BYTES / PAGE_BYTES)
#define PAGES_LEVELS 5
#define PAGES_TRIES 256                         /* misplaced fits a search looks at, see below */
#define PAGES_TICK_MS 16

struct pages_chunk;                             /* bitmaps and ages of one chunk */

enum pages_kind { PAGES_DIRTY, PAGES_CLEAN, PAGES_LAZY, PAGES_FRESH };

/* What was found behind a run when it was taken: dirty = npages - nclean - nlazy. */
struct pages_mix {
	uint32_t nclean;
	uint32_t nlazy;
	uint32_t nfresh;                        /* of the clean ones */
};

/* Free pages of one aligned group of 64, claimed by one thread, which takes and gives back
 * pages in it without the lock. Empty: all zero. */
struct pages_cache {
	uint64_t free;                          /* ones: free, claimed for this cache */
	uint64_t clean, lazy;                   /* subsets of free, disjoint */
	uint64_t fresh, given_back;             /* when it was claimed: of clean; of both, not fresh */
	page_idx first;                         /* of bit 0; a multiple of 64 */
	bool     is_claimed;
	bool     has_freed;                     /* something became dirty since the claim */
};

struct pages {
	/* Changed by pages_init() and pages_move() only. */
	struct pages_chunk *chunks;
	uint64_t *level[PAGES_LEVELS];          /* summaries: [0] of chunks, the last is the root */
	uint64_t *dirty_chunks;                 /* a bit a chunk: has free dirty pages */
	page_idx  capacity;                     /* npages never passes it */

	/* LOCK_PAGES. */
	page_idx  npages;                       /* the heap is [0, npages) */
	page_idx  nfree, nclean, nlazy;         /* the other free pages are dirty: pages_ndirty() */
	page_idx  nfresh;                       /* of nclean */
	uint64_t  nreused;                      /* given back and handed out again; those of a cache
	                                         * count when it is emptied */
	page_idx  hint;                         /* no page below is free */
};

/* Bytes of a chunk record: the heap of n pages needs the first ceil(n / PAGES_CHUNK) records.
 * ctx: any */
size_t pages_chunk_bytes(void);

/* Bytes of summaries for `capacity` pages: 2.3 MiB per TiB. ctx: any */
size_t pages_summary_bytes(page_idx capacity);

/* Both ranges are aligned to CACHE_LINE and zero; `chunks` need not be accessible yet.
 * ctx: init */
void pages_init(struct pages *p, struct pages_chunk *chunks, void *summary, page_idx capacity);

/* Copies everything to larger memory, as in pages_init(): room for `capacity` pages, not fewer than
 * before. The old memory is of no use any more. ctx: alloc, LOCK_PAGES */
void pages_move(struct pages *p, struct pages_chunk *chunks, void *summary, page_idx capacity);

/* The heap now ends `npages` later (a multiple of PAGES_GROW); the new pages are free and clean.
 * The chunk records up to the new end are accessible, and zero if new. ctx: alloc, LOCK_PAGES */
void pages_grow(struct pages *p, page_idx npages);

/* Takes `npages` (at least 1), `align_pages` (a power of two) aligned from page 0. The lowest
 * address that fits; where PAGES_TRIES unaligned fits come first, the next run that is long enough
 * to fit wherever it begins. PAGE_NONE: nothing fits. ctx: alloc, LOCK_PAGES */
page_idx pages_alloc(struct pages *p, page_idx npages, page_idx align_pages,
                     struct pages_mix *mix);

/* Takes exactly [first, first + npages) if all of it is inside the heap and free.
 * ctx: alloc, LOCK_PAGES */
bool pages_take(struct pages *p, page_idx first, page_idx npages, struct pages_mix *mix);

/* All pages were used (checked). `now` matters for PAGES_DIRTY only. ctx: alloc, LOCK_PAGES */
void pages_free(struct pages *p, page_idx first, page_idx npages, enum pages_kind kind,
                uint32_t now);

/* Free pages at the end of the heap: what pages_grow() need not add. ctx: alloc, LOCK_PAGES */
page_idx pages_tail_free(const struct pages *p);

/* Fills an empty cache with all free pages of a group that has `wanted` (1..64) in a row: the
 * lowest group; where PAGES_TRIES runs cut by a group's border come first, the next one with a
 * run twice as long. False: there is none, or none was found that way.
 * ctx: alloc, LOCK_PAGES */
bool pages_cache_claim(struct pages *p, struct pages_cache *cache, unsigned wanted);

/* Empties the cache; nothing to do if it is empty. ctx: alloc, LOCK_PAGES */
void pages_cache_return(struct pages *p, struct pages_cache *cache, uint32_t now);

/* Takes the next run of dirty free pages below *cursor, freed before `cutoff` (their groups' age
 * tells), as long as possible but at most `max_pages`, and moves *cursor to its base. With
 * `want_huge` only aligned blocks of PAGES_HUGE pages that are dirty and old throughout (then
 * max_pages is at least PAGES_HUGE). Start with PAGE_NONE in *cursor: runs come from the highest
 * address down, since low pages are reused first.
 * PAGE_NONE: nothing found; the walk is over if *cursor is 0, else it paused so as not to hold
 * the lock for long: call again. The caller gives the run back with pages_free().
 * ctx: alloc, LOCK_PAGES */
page_idx pages_take_dirty(struct pages *p, uint32_t cutoff, page_idx max_pages, bool want_huge,
                          page_idx *cursor, page_idx *npages);

/* Dirty free pages freed before `cutoff`, as pages_take_dirty() would find them. Walks every
 * chunk that has dirty pages. ctx: alloc, LOCK_PAGES */
page_idx pages_dirty_aged(const struct pages *p, uint32_t cutoff);

/* Free pages that the kernel holds memory for. ctx: any, LOCK_PAGES */
static inline page_idx pages_ndirty(const struct pages *p)
{
	return p->nfree - p->nclean - p->nlazy;
}

/* Recomputes everything. ctx: alloc, LOCK_PAGES */
void pages_verify(const struct pages *p);

/* Ones where a run of `n` (1..64) ones begins. */
static inline uint64_t pages_word_runs(uint64_t word, unsigned n)
{
	/* Each step doubles the length that a one stands for, the last adds what is missing. */
	unsigned have = 1;

	while (word && have < n) {
		unsigned step = n - have < have ? n - have : have;

		word &= word >> step;
		have += step;
	}
	return word;
}

/* Takes the lowest `npages` in a row (at least 1); PAGE_NONE if there are none.
 * ctx: alloc, the cache's owner. No lock. */
static inline page_idx pages_cache_alloc(struct pages_cache *cache, page_idx npages,
                                         struct pages_mix *mix)
{
	if (npages > PAGES_GROUP)
		return PAGE_NONE;

	uint64_t runs = pages_word_runs(cache->free, npages);

	if (!runs)
		return PAGE_NONE;

	unsigned bit = bit_first(runs);
	uint64_t run = bit_range(bit, npages);

	mix->nclean = bit_count(cache->clean & run);
	mix->nlazy = bit_count(cache->lazy & run);
	cache->free &= ~run;
	cache->clean &= ~run;
	cache->lazy &= ~run;
	return cache->first + bit;
}

/* False: the run is not wholly in the claimed group. Else its pages, which were used (checked as
 * far as the cache knows), are free and dirty. ctx: alloc, the cache's owner. No lock. */
static inline bool pages_cache_free(struct pages_cache *cache, page_idx first, page_idx npages)
{
	page_idx bit = first - cache->first;    /* wraps to something large if below */

	if (!cache->is_claimed || bit >= PAGES_GROUP || npages > PAGES_GROUP - bit)
		return false;

	uint64_t run = bit_range(bit, npages);

	check(!(cache->free & run));
	cache->free |= run;
	cache->has_freed = true;
	return true;
}

#endif
