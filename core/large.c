/* large.c: blocks in pages of their own.
 *
 * Reached from preload, for frees from cache.c, and from sweep.c (large_reclaim()). Depends on heap.c for pages, and on the
 * calling thread's spanset (cache_lock_spans()) for cached pages and records, so that blocks up to
 * 256 KiB usually take no shared lock.
 *
 * Growing: first in place; then pages move by mremap instead of being copied, from MOVE_MIN_BYTES
 * on. Each range that was moved may cost the kernel two more mappings, and a process has 65,530.
 * os_renew() undoes that, but drops the pages, which the next block would have to fault in again:
 * so the first MOVED_KEPT ranges stay when they are freed, later ones are renewed, and MOVED_MAX is
 * the end. In mode gc contents are copied: what the collector sees of writes would not move along.
 *
 * Invariant: the granule of a large block's first page holds SIZECLASS_LARGE exactly while the
 * block is allocated; its span is SPAN_LARGE from before that until after.
 */
#include "core/large.h"

#include "core/block.h"
#include "core/budget.h"
#include "core/cache.h"
#include "core/heap.h"
#include "core/marks.h"
#include "core/os.h"

#include <string.h>

#define MOVE_MIN_BYTES KIB(256)
#define MOVED_KEPT 2048
#define MOVED_MAX 4096

/* Ranges that were moved and not renewed: a bound on mappings, not their number, because neighbours
 * may merge again. */
static _Atomic int nmoved;

static page_idx pages_for(size_t nbytes)
{
	return (page_idx)(large_round(nbytes) >> PAGE_SHIFT);
}

/* The heap begins at a multiple of an arena: for more, a longer run is cut to measure. */
static bool take_aligned(struct spanset *set, page_idx npages, page_idx align_pages,
                         struct run *run)
{
	if (align_pages <= ARENA_BYTES >> PAGE_SHIFT)
		return spanset_take_pages(set, npages, align_pages, run);
	if (!spanset_take_pages(NULL, npages + align_pages, 1, run))
		return false;

	size_t align = (size_t)align_pages << PAGE_SHIFT;
	page_idx first = heap_page(align_up(heap_address(run->first), align));
	page_idx before = first - run->first, behind = align_pages - before;

	if (before)
		heap_give_pages(NULL, run->first, before, PAGES_DIRTY);
	if (behind)
		heap_give_pages(NULL, first + npages, behind, PAGES_DIRTY);
	*run = (struct run){ .first = first, .npages = npages };
	return true;
}

static struct span *take(struct spanset *set, page_idx npages, page_idx align_pages,
                         struct run *run)
{
	struct span *s = spanset_new_record(set);

	if (!s)
		return NULL;
	if (!take_aligned(set, npages, align_pages, run)) {
		spanset_drop_record(set, s);
		return NULL;
	}
	s->base = heap_address(run->first);
	s->npages = npages;
	s->slot_bytes = 0;
	s->nslots = 1;
	s->nwords = 0;
	s->class = SIZECLASS_LARGE;
	s->place = SPAN_LARGE;
	s->nmoved = 0;
	heap_map_span(run->first, npages, s);
	return s;
}

static struct span *alloc_span(size_t nbytes, size_t align, struct run *run)
{
	size_t align_pages = align > PAGE_BYTES ? align >> PAGE_SHIFT : 1;

	/* The counts below must fit in page_idx. */
	if (nbytes > heap.region.nbytes || align > heap.region.nbytes / 2)
		return NULL;

	struct spanset *set = cache_lock_spans();
	struct span *s = take(set, pages_for(nbytes), (page_idx)align_pages, run);

	cache_unlock_spans(set);
	return s;
}

/* From the moment on that it is a block its address is in a register: a scan that finds the thread
 * here finds it. (The store may fault, and signals come after faults.) */
static void *hand_out(struct span *s)
{
	uintptr_t p = s->base;

	__asm__ volatile("" : "+r"(p));
	budget_take(large_usable(s));
	marks_born((void *)p);
	/* release: pairs with the acquire in sweep.c: first the mark. */
	atomic_store_explicit(heap_granule(p), SIZECLASS_LARGE, memory_order_release);
	return (void *)p;
}

void *large_alloc(size_t nbytes, size_t align)
{
	struct run run;
	struct span *s = alloc_span(nbytes, align, &run);

	return s ? hand_out(s) : NULL;
}

/* Writing zeros makes all pages resident: where most are not, discarding the others is less. */
static void zero(const struct span *s, const struct run *run, size_t nbytes)
{
	if (run->nclean == run->npages)
		return;
	if (run->nclean > run->npages / 4 * 3
	    && !os_discard(s->base, (size_t)s->npages << PAGE_SHIFT))
		return;
	memset((void *)s->base, 0, nbytes);
}

void *large_calloc(size_t nbytes)
{
	struct run run;
	struct span *s = alloc_span(nbytes, 1, &run);

	if (!s)
		return NULL;
	zero(s, &run, nbytes);
	return hand_out(s);
}

static void count_moved(int change)
{
	/* relaxed: a bound that need not be exact. */
	atomic_fetch_add_explicit(&nmoved, change, memory_order_relaxed);
}

static bool is_to_be_renewed(const struct span *s)
{
	/* relaxed: as in count_moved(). */
	return s->nmoved && atomic_load_explicit(&nmoved, memory_order_relaxed) > MOVED_KEPT;
}

/* Gives back the last pages of `s`; its npages is the caller's to set. True: they are one mapping
 * with their surroundings again. */
static bool give_tail(struct spanset *set, const struct span *s, page_idx npages,
                      enum pages_kind kind)
{
	page_idx first = heap_page(s->base) + s->npages - npages;
	bool is_renewed = is_to_be_renewed(s) && heap_renew(first, npages);

	heap_give_pages(set ? &set->pages : NULL, first, npages, is_renewed ? PAGES_CLEAN : kind);
	return is_renewed;
}

static void clear_tail(const struct span *s, page_idx npages)
{
	if (unlikely(heap.clears_free))
		memset((void *)(s->base + ((uintptr_t)(s->npages - npages) << PAGE_SHIFT)), 0,
		       (size_t)npages << PAGE_SHIFT);
}

static void drop(struct span *s, enum pages_kind kind)
{
	struct spanset *set = cache_lock_spans();

	clear_tail(s, s->npages);
	budget_give(large_usable(s));
	if (give_tail(set, s, s->npages, kind))
		count_moved(-s->nmoved);
	spanset_drop_record(set, s);
	cache_unlock_spans(set);
}

void large_free(void *p)
{
	drop(heap_span((uintptr_t)p), PAGES_DIRTY);
}

size_t large_reclaim(void *p)
{
	struct span *s = heap_span((uintptr_t)p);
	size_t nbytes = large_usable(s);

	check(s->place == SPAN_LARGE && s->base == (uintptr_t)p);
	clear_tail(s, s->npages);
	heap_give_pages(NULL, heap_page(s->base), s->npages, PAGES_DIRTY);
	heap_drop_span(s);
	return nbytes;
}

static void shrink(struct span *s, page_idx npages)
{
	page_idx spare = s->npages - npages;

	if (spare < s->npages / 8 || !spare)
		return;
	clear_tail(s, spare);
	budget_give((size_t)spare << PAGE_SHIFT);

	struct spanset *set = cache_lock_spans();

	give_tail(set, s, spare, PAGES_DIRTY);
	s->npages = npages;
	cache_unlock_spans(set);
}

static bool grow_in_place(struct span *s, page_idx npages)
{
	page_idx end = heap_page(s->base) + s->npages;
	struct run run;

	if (!heap_take_pages_at(end, npages - s->npages, &run))
		return false;
	heap_map_span(run.first, run.npages, s);
	budget_take((size_t)run.npages << PAGE_SHIFT);
	s->npages = npages;
	return true;
}

static bool may_move(size_t nbytes)
{
	/* relaxed: as in count_moved(). */
	return nbytes >= MOVE_MIN_BYTES
	       && atomic_load_explicit(&nmoved, memory_order_relaxed) < MOVED_MAX;
}

/* The first nbytes at `from` go to `to`. Pages that came by mremap before lie in mappings of their
 * own, and mremap refuses a range of several: then the half is tried, and so on. False: some were
 * copied. */
static bool carry(uintptr_t from, struct span *to, size_t nbytes)
{
	uintptr_t at = to->base, end = at + nbytes;
	bool is_moved = true;
	size_t n = nbytes;

	while (at < end) {
		if (may_move(n) && !os_move_pages(from, at, n)) {
			to->nmoved++;
			count_moved(1);
		} else if (may_move(n / 2)) {
			n = align_up(n / 2, PAGE_BYTES);
			continue;
		} else {
			memcpy((void *)at, (void *)from, n);
			is_moved = false;
		}
		at += n;
		from += n;
		n = end - at;
	}
	return is_moved;
}

/* The contents of `from` go to the larger `to`, and `from` is freed: without its pages, if all were
 * moved. */
static void *transfer(struct span *from, struct span *to)
{
	bool is_moved = carry(from->base, to, large_usable(from));

	drop(from, is_moved ? PAGES_CLEAN : PAGES_DIRTY);
	return hand_out(to);
}

/* The same in mode gc. A collector that stops this thread finds the contents, by the addresses that it
 * has in hand, in one of both. The new block is one before it is written to: the collector reads of a
 * block that is born marked only what was written after that. */
static void *replace(uintptr_t p, struct span *to)
{
	struct span *from = heap_span(p);

	__asm__ volatile("" : "+r"(p));

	void *made = hand_out(to);

	memcpy(made, (void *)p, large_usable(from));
	__asm__ volatile("" : : "r"(p));
	if (!heap.ignores_free) {
		cache_bury_block((void *)p, SIZECLASS_LARGE);
		drop(from, PAGES_DIRTY);
	}
	return made;
}

void *large_resize(void *p, size_t nbytes)
{
	struct span *s = heap_span((uintptr_t)p);
	page_idx npages = pages_for(nbytes);
	struct run run;

	if (nbytes > heap.region.nbytes)
		return NULL;
	if (npages <= s->npages) {
		shrink(s, npages);
		return p;
	}
	size_t grown = block_grown(large_usable(s), nbytes);

	if (grow_in_place(s, pages_for(grown)) || grow_in_place(s, npages))
		return p;

	struct span *to = alloc_span(grown, 1, &run);

	if (!to)
		to = alloc_span(nbytes, 1, &run);

	if (!to)
		return NULL;
	if (marks_are_on())
		return replace((uintptr_t)p, to);
	cache_bury(p, SIZECLASS_LARGE);
	return transfer(s, to);
}
