/* heap.h: the heap's address space, its pages, and what stands at an address.
 *
 * One range of addresses, used from the front. Four tables lie beside it:
 *     granules   a byte for each 16 bytes (8 with SPANGC_MIN_ALIGN=8): the span class if an
 *                allocated block starts there, else 0 or, where the collector reclaimed one,
 *                SIZECLASS_RECLAIMED. The truth about what is allocated.
 *     page_class the class of the span on each page (of a large span, its first): a small table
 *                that stays in the cache where the granules may not
 *     page_span  the span of each page; of a large span's whole arenas, arena_span instead
 *     pages      which pages are free (pages.h)
 *     marks      in mode gc, a bit for each granule (marks.h)
 * Granules lie in a region of their own from the start. The others begin small, side by side in
 * memory for records, and move to regions of their own when the heap outgrows them, at 2 MiB.
 */
#ifndef CORE_HEAP_H
#define CORE_HEAP_H

#include "core/base.h"
#include "core/lock.h"
#include "core/meta.h"
#include "core/pages.h"
#include "core/sizeclass.h"
#include "core/span.h"

#define RECORD_BYTES 8                          /* see record.h */

struct heap {
	/* Constant after heap_init(), but for the counts, which grow, and for the tables that move once,
	 * before the counts pass what the first ones cover: any thread reads, no lock. Entries are
	 * copied; the first tables stay as they were. */
	uintptr_t base;
	_Atomic uint8_t *granules;
	_Atomic uint8_t *granules_by_address;   /* granules - base / 16, for the hot path */
	/* Granules of the accessible heap if the hot path may use them, else 0. */
	_Atomic size_t hot_granules;
	_Atomic size_t nbytes;                  /* accessible heap, from base */
	_Atomic uint8_t *_Atomic page_class;    /* of the span there: what its granules hold */
	struct span *_Atomic *_Atomic page_span;
	struct span *_Atomic *_Atomic arena_span;
	_Atomic bool has_moved;                 /* the tables are the large ones */
	const struct sizeclass_set *classes;
	unsigned granule_shift;
	/* At the end of each slot, not the program's: 0 in mode malloc; RECORD_BYTES where blocks have
	 * records (record.h); 1 in mode gc without, so that a block's end is inside its slot. */
	unsigned tail_bytes;
	/* Mode gc: SPANGC_GC_FREE=ignore; with SPANGC_VERIFY=1 what is freed or reclaimed is cleared: a
	 * block that is born marked is read only where it is written to, and a second marking, which
	 * reads all of it, would find what leftovers lead to. */
	bool ignores_free, clears_free;
	/* Where the hot path is off: free() has nothing to do but what cache_free() does; or that and
	 * marks. */
	bool frees_plainly, frees_marked;

	/* LOCK_PAGES. */
	_Alignas(CACHE_LINE) struct lock lock;
	struct os_region region;
	struct meta_table granule_table, class_table, page_table, chunk_table, arena_table;
	struct meta_table mark_table;
	struct pages pages;
	struct span *unused_spans;
	unsigned nfresh_spans;                  /* at the end of the newest block: not used yet */
	struct span_block *_Atomic span_blocks; /* all records ever made; read without the lock */
	page_idx npages_peak;                   /* most pages in use at once */
};

extern struct heap heap;

/* Reserves address space; reads no knob but min_align and mode. False: none to be had. ctx: init */
bool heap_init(void);

/* Gives up the addresses that the heap and its tables do not use yet, for a program that limits its
 * own address space: from now on they are mapped as needed. ctx: any */
void heap_unreserve(void);

/* Does the hot path serve this mode? Where it does not, its magazines and granules stay empty.
 * ctx: any, after heap_init() */
static inline bool heap_has_hot_path(void)
{
	return heap.granule_shift == sizeclass_set16.granule_shift && !heap.tail_bytes;
}

/* Do blocks have records? False before the first allocation. ctx: any, signal */
static inline bool heap_has_records(void)
{
	return heap.tail_bytes >= RECORD_BYTES;
}

/* Pages of the heap, taken. */
struct run {
	page_idx first;
	page_idx npages;
	page_idx nclean;                        /* of them: no memory behind, zero */
};

static inline uintptr_t heap_address(page_idx page)
{
	return heap.base + ((uintptr_t)page << PAGE_SHIFT);
}

static inline page_idx heap_page(uintptr_t p)
{
	return (page_idx)((p - heap.base) >> PAGE_SHIFT);
}

/* Is `p` in the accessible heap? ctx: any, signal */
static inline bool heap_contains(uintptr_t p)
{
	/* acquire: pairs with the release in grow_by(): for a wild pointer too the tables cover it. */
	return p - heap.base < atomic_load_explicit(&heap.nbytes, memory_order_acquire);
}

/* ctx: any, signal */
static inline uintptr_t heap_end(void)
{
	/* acquire: pairs with the release in grow_by(). */
	return heap.base + atomic_load_explicit(&heap.nbytes, memory_order_acquire);
}

/* The entry of a page. relaxed: ordered by the count that covers the page, or by what the caller
 * knows the page from. */
HOT struct span *_Atomic *heap_page_entry(size_t page)
{
	return atomic_load_explicit(&heap.page_span, memory_order_relaxed) + page;
}

HOT _Atomic uint8_t *heap_page_class(size_t page)
{
	return atomic_load_explicit(&heap.page_class, memory_order_relaxed) + page;
}

/* The span at an address of an allocated block. ctx: any, signal */
HOT struct span *heap_span(uintptr_t p)
{
	/* relaxed: set before the block was handed out, which is how the caller knows p. */
	return atomic_load_explicit(heap_page_entry((p - heap.base) >> PAGE_SHIFT),
	                            memory_order_relaxed);
}

/* The same for any address; NULL where there is none. The span may be a stale one: the caller
 * looks whether it holds p. ctx: any, signal */
struct span *heap_span_any(uintptr_t p);

/* The byte of the granule that starts at p. Precondition: heap_contains(p). ctx: any, signal */
static inline _Atomic uint8_t *heap_granule(uintptr_t p)
{
	return &heap.granules[(p - heap.base) >> heap.granule_shift];
}

/* Takes pages; from `cache` first if there is one. False: none are free, and the heap may not or
 * can not grow. ctx: alloc */
bool heap_take_pages(struct pages_cache *cache, page_idx npages, page_idx align_pages,
                     bool may_grow, struct run *run);

/* Pages that nobody else has become a plain mapping again, all zero, like the heap around them: in
 * place of what mremap brought. False: the kernel refused. ctx: alloc */
bool heap_renew(page_idx first, page_idx npages);

/* Takes these pages if they are free. ctx: alloc */
bool heap_take_pages_at(page_idx first, page_idx npages, struct run *run);

/* Gives pages back, to `cache` if it can hold them. ctx: alloc */
void heap_give_pages(struct pages_cache *cache, page_idx first, page_idx npages,
                     enum pages_kind kind);

/* Gives pages, or the record of a span, back; `now` as in pages_free(). ctx: alloc, LOCK_PAGES */
void heap_put_pages(page_idx first, page_idx npages, enum pages_kind kind, uint32_t now);
void heap_put_span(struct span *s);

/* LOCK_PAGES with signals blocked. ctx: alloc */
struct sigmask;
void heap_enter(struct sigmask *saved);
void heap_leave(const struct sigmask *saved);

/* Empties a cache of pages. ctx: alloc */
void heap_return_cache(struct pages_cache *cache);

/* Puts up to `n` records for spans in front of *list; how many (0: no memory). ctx: alloc */
unsigned heap_new_spans(struct span **list, unsigned n);

/* The record is unused again. ctx: alloc */
void heap_drop_span(struct span *s);

/* Shows every record ever made to `fn`, used or not. No lock: their owners go on with them.
 * ctx: any */
void heap_visit_spans(void (*fn)(const struct span *s, void *arg), void *arg);

/* heap_span() of these pages is `s` from now on. ctx: alloc, before the span is handed out */
void heap_map_span(page_idx first, page_idx npages, struct span *s);

/* Coarse time in ticks of PAGES_TICK_MS; and a time so long ago that what was freed then is due to
 * go back. ctx: any */
uint32_t heap_now(void);
uint32_t heap_long_ago(void);

/* ctx: fork */
void heap_fork_prepare(void);
void heap_fork_parent(void);
void heap_fork_child(void);

#endif
