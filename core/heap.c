/* heap.c: arenas, pages, and which span is where.
 *
 * Reached from spanset.c (pages for spans of slots), large.c, scavenge.c and init. Depends on
 * pages.c for which pages are free, on heap_tables.c and on os.h. LOCK_PAGES guards all
 * that changes; it is taken with signals blocked, so that its holder always gets on, even if a
 * signal handler forks or allocates.
 *
 * The heap grows at its end, in steps of an eighth of its size, from 1 MiB to one arena: few
 * system calls for large programs, few pages of tables and small core dumps for small ones.
 *
 * Invariants:
 *   H1  tables cover [0, nbytes) before nbytes says so (grow_by());
 *   H2  granules of pages that are in no span hold no class, so their memory may be discarded: a
 *       block's byte is cleared when it is freed or reclaimed (checked by verify_all());
 *   H3  an entry of page_span may be stale, its record never unmapped.
 */
#include "core/heap.h"

#include "core/delay.h"
#include "core/heap_tables.h"
#include "core/hooks.h"
#include "core/knobs.h"
#include "core/live.h"
#include "core/marks.h"
#include "core/os.h"
#include "core/scavenge.h"
#include "core/sigmask.h"

#define HEAP_MAX_BYTES (UINT64_C(1) << 40)
#define HEAP_MIN_BYTES MIB(64)
#define GROW_MIN_BYTES MIB(1)
#define SPAN_RECORDS 16                         /* made at a time */
#define TOLD_PAGES (PAGES_GROUP / 4)          /* fewer are not worth it */
#define CACHE_MAX_PAGES 32                      /* longer runs bypass the caches of pages */

/* Never unmapped, never taken out of the list. */
struct span_block {
	struct span_block *next;
	struct span spans[SPAN_RECORDS];
};

struct heap heap = { .lock = LOCK_INIT(LOCK_PAGES) };

static struct span_block *first_block(void)
{
	/* acquire: pairs with the release in more_spans(). */
	return atomic_load_explicit(&heap.span_blocks, memory_order_acquire);
}

static bool more_spans(void)
{
	struct span_block *b = meta_alloc(sizeof *b, CACHE_LINE);

	if (!b)
		return false;
	b->next = first_block();
	/* release: heap_visit_spans() finds the block complete. */
	atomic_store_explicit(&heap.span_blocks, b, memory_order_release);
	heap.nfresh_spans = SPAN_RECORDS;
	return true;
}

bool heap_init(void)
{
	bool is_gc = knobs.mode == KNOB_MODE_GC;
	bool has_records = knobs.mode == KNOB_MODE_LEAKS || (is_gc && knobs.stacks != KNOB_OFF);
	/* With a tail behind it, a block of 32 bytes would not be aligned to 16. */
	bool is_min8 = knobs.min_align == KNOB_MIN_ALIGN_8 && knobs.mode == KNOB_MODE_MALLOC;

	heap.classes = is_min8 ? &sizeclass_set8 : &sizeclass_set16;
	heap.granule_shift = heap.classes->granule_shift;
	heap.tail_bytes = has_records ? RECORD_BYTES : is_gc;
	heap.clears_free = is_gc && knobs.verify;
	heap.ignores_free = is_gc && knobs.gc_free == KNOB_GC_FREE_IGNORE;
	/* The records first: close to the libraries, they share pages of the kernel's page tables. */
	/* relaxed: there is one thread. */
	if (!atomic_load_explicit(&heap.page_class, memory_order_relaxed) && !(heap_tables_start() && more_spans()))
		return false;
	if (os_reserve(&heap.region, HEAP_MAX_BYTES, HEAP_MIN_BYTES, ARENA_BYTES))
		return false;
	if (!heap_tables_reserve(heap.region.nbytes))
		return false;
	if (heap.region.is_mapped)
		os_name(heap.region.base, heap.region.nbytes, "spangc heap");
	heap.base = heap.region.base;
	heap.granules_by_address = (void *)((uintptr_t)heap.granules - (heap.base >> 4));
	return true;
}

uint32_t heap_now(void)
{
	return (uint32_t)(os_now_ms() / PAGES_TICK_MS);
}

uint32_t heap_long_ago(void)
{
	return heap_now() - (uint32_t)(delay_idle_ms() / PAGES_TICK_MS) - 1;
}

void heap_enter(struct sigmask *saved)
{
	sigmask_block(saved);
	lock_take(&heap.lock);
}

static void publish(_Atomic uint64_t *counter, uint64_t npages)
{
	/* relaxed: figures; LOCK_PAGES makes this the only writer. */
	atomic_store_explicit(counter, npages << PAGE_SHIFT, memory_order_relaxed);
}

void heap_leave(const struct sigmask *saved)
{
	const struct pages *p = &heap.pages;

	publish(&live.heap_bytes, p->npages - p->nfree);
	publish(&live.free_bytes, pages_ndirty(p));
	publish(&live.reused_released_bytes, p->nreused);
	lock_drop(&heap.lock);
	sigmask_restore(saved);
}

static void advise_huge(uintptr_t address, size_t nbytes)
{
	if (knobs.thp != KNOB_THP_DEFAULT)
		os_advise_huge(address, nbytes, knobs.thp == KNOB_THP_ALWAYS);
}

bool heap_renew(page_idx first, page_idx npages)
{
	uintptr_t address = heap_address(first);
	size_t nbytes = (size_t)npages << PAGE_SHIFT;

	if (os_renew(address, nbytes))
		return false;
	os_name(address, nbytes, "spangc heap");
	advise_huge(address, nbytes);
	return true;
}

static bool grow_by(size_t nbytes)
{
	/* relaxed here and below: only the holder of LOCK_PAGES writes it. */
	size_t old = atomic_load_explicit(&heap.nbytes, memory_order_relaxed);
	uintptr_t end = heap.base + old;

	if (nbytes > heap.region.nbytes - old || !heap_tables_cover(old + nbytes))
		return false;
	if (os_commit(&heap.region, end, nbytes))
		return false;
	if (!heap.region.is_mapped)
		os_name(end, nbytes, "spangc heap");
	advise_huge(end, nbytes);
	pages_grow(&heap.pages, (page_idx)(nbytes >> PAGE_SHIFT));
	/* release, both: the tables cover it. Pairs with heap_contains() and cache_find(). */
	atomic_store_explicit(&heap.nbytes, old + nbytes, memory_order_release);
	if (heap_has_hot_path())
		atomic_store_explicit(&heap.hot_granules, (old + nbytes) >> heap.granule_shift,
		                      memory_order_release);
	return true;
}

/* The heap's end gets room for `npages`, aligned. */
static bool grow(page_idx npages, page_idx align_pages)
{
	size_t old = atomic_load_explicit(&heap.nbytes, memory_order_relaxed);
	size_t tail = (size_t)pages_tail_free(&heap.pages) << PAGE_SHIFT;
	size_t start = align_up(old - tail, (size_t)align_pages << PAGE_SHIFT);
	size_t need = align_up(start + ((size_t)npages << PAGE_SHIFT) - old, GROW_MIN_BYTES);
	size_t step = align_up(old / 8, GROW_MIN_BYTES);

	if (step > ARENA_BYTES)
		step = ARENA_BYTES;
	return (step > need && grow_by(step)) || grow_by(need);
}

void heap_unreserve(void)
{
	struct sigmask saved;

	heap_enter(&saved);
	/* relaxed: only the holder of LOCK_PAGES writes it. */
	os_unreserve(&heap.region, atomic_load_explicit(&heap.nbytes, memory_order_relaxed));
	heap_tables_unreserve();
	heap_leave(&saved);
}

static void note_taken(void)
{
	page_idx used = heap.pages.npages - heap.pages.nfree;

	if (used > heap.npages_peak)
		heap.npages_peak = used;
	if (unlikely(knobs.memory_limit_bytes != KNOB_OFF))
		scavenge_note();
}

static bool take_from_cache(struct pages_cache *cache, page_idx npages, struct run *run)
{
	struct pages_mix mix = { 0 };

	run->first = pages_cache_alloc(cache, npages, &mix);
	run->npages = npages;
	run->nclean = mix.nclean;
	return run->first != PAGE_NONE;
}

/* Short runs come through the cache: a new group of pages for it, then from there. */
static bool take_through_cache(struct pages_cache *cache, page_idx npages, bool may_grow,
                               struct run *run)
{
	if (!cache || npages > CACHE_MAX_PAGES)
		return false;
	if (cache->is_claimed)                  /* a small process never asks for the time */
		pages_cache_return(&heap.pages, cache, heap_now());
	bool is_claimed = pages_cache_claim(&heap.pages, cache, npages);

	if (!is_claimed && may_grow && grow(PAGES_GROUP, PAGES_GROUP))
		is_claimed = pages_cache_claim(&heap.pages, cache, npages);
	return is_claimed && take_from_cache(cache, npages, run);
}

static bool take_shared(page_idx npages, page_idx align_pages, bool may_grow, struct run *run)
{
	struct pages_mix mix;

	run->first = pages_alloc(&heap.pages, npages, align_pages, &mix);
	if (run->first == PAGE_NONE && may_grow && grow(npages, align_pages))
		run->first = pages_alloc(&heap.pages, npages, align_pages, &mix);
	run->npages = npages;
	if (run->first == PAGE_NONE)
		return false;
	run->nclean = mix.nclean;
	return true;
}

/* A group was claimed, of which most is going to be written soon, and was before: the collector may have
 * it watched, page by page. */
static COLD void tell_claimed(const struct pages_cache *cache, const struct run *run)
{
	page_idx ndirty = bit_count(cache->free & ~cache->clean) + run->npages - run->nclean;

	if (hooks.will_write && run->first - cache->first < PAGES_GROUP && ndirty >= TOLD_PAGES)
		hooks.will_write(heap_address(cache->first), heap_address(cache->first + PAGES_GROUP));
}

bool heap_take_pages(struct pages_cache *cache, page_idx npages, page_idx align_pages,
                     bool may_grow, struct run *run)
{
	struct sigmask saved;

	if (cache && align_pages == 1 && take_from_cache(cache, npages, run))
		return true;
	if (npages > heap.region.nbytes >> PAGE_SHIFT
	    || align_pages > heap.region.nbytes >> PAGE_SHIFT)
		return false;
	heap_enter(&saved);

	bool is_taken = (align_pages == 1 && take_through_cache(cache, npages, may_grow, run))
	                || take_shared(npages, align_pages, may_grow, run);

	note_taken();
	heap_leave(&saved);
	if (unlikely(marks_are_on()) && is_taken && cache && cache->is_claimed)
		tell_claimed(cache, run);
	return is_taken;
}

bool heap_take_pages_at(page_idx first, page_idx npages, struct run *run)
{
	struct pages_mix mix;
	struct sigmask saved;

	heap_enter(&saved);

	bool is_taken = pages_take(&heap.pages, first, npages, &mix);

	note_taken();
	heap_leave(&saved);
	if (is_taken)
		*run = (struct run){ first, npages, mix.nclean };
	return is_taken;
}

void heap_put_pages(page_idx first, page_idx npages, enum pages_kind kind, uint32_t now)
{
	check(lock_held(&heap.lock));
	pages_free(&heap.pages, first, npages, kind, now);
	scavenge_note();
}

void heap_give_pages(struct pages_cache *cache, page_idx first, page_idx npages,
                     enum pages_kind kind)
{
	struct sigmask saved;

	if (cache && kind == PAGES_DIRTY && pages_cache_free(cache, first, npages))
		return;
	heap_enter(&saved);
	heap_put_pages(first, npages, kind, heap_now());
	heap_leave(&saved);
}

void heap_return_cache(struct pages_cache *cache)
{
	struct sigmask saved;

	if (!cache->is_claimed)
		return;
	heap_enter(&saved);
	pages_cache_return(&heap.pages, cache, heap_now());
	heap_leave(&saved);
}

void heap_visit_spans(void (*fn)(const struct span *s, void *arg), void *arg)
{
	for (const struct span_block *b = first_block(); b; b = b->next) {
		for (unsigned i = 0; i < SPAN_RECORDS; i++)
			fn(&b->spans[i], arg);
	}
}

static struct span *new_span(void)
{
	struct span *s = heap.unused_spans;

	if (s) {
		heap.unused_spans = s->next;
		return s;
	}
	/* One by one: records that nobody needs are never touched. */
	if (!heap.nfresh_spans && !more_spans())
		return NULL;
	return &first_block()->spans[SPAN_RECORDS - heap.nfresh_spans--];
}

unsigned heap_new_spans(struct span **list, unsigned n)
{
	struct sigmask saved;
	struct span *s;
	unsigned ngot = 0;

	heap_enter(&saved);
	while (ngot < n && (s = new_span())) {
		s->next = *list;
		*list = s;
		ngot++;
	}
	heap_leave(&saved);
	return ngot;
}

void heap_put_span(struct span *s)
{
	check(lock_held(&heap.lock));
	s->place = SPAN_UNUSED;
	s->next = heap.unused_spans;
	heap.unused_spans = s;
}

void heap_drop_span(struct span *s)
{
	struct sigmask saved;

	heap_enter(&saved);
	heap_put_span(s);
	heap_leave(&saved);
}

/* release: whoever finds the span by an address that merely looks like one of its own reads a
 * complete record. Pairs with the acquire in heap_span_any(). */
static void set_entry(struct span *_Atomic *entry, struct span *s)
{
	atomic_store_explicit(entry, s, memory_order_release);
}

static void set_classes(page_idx first, page_idx npages, class_idx c)
{
	/* relaxed: read by whoever got a block there. */
	for (page_idx i = first; i < first + npages; i++)
		atomic_store_explicit(heap_page_class(i), c, memory_order_relaxed);
}

/* relaxed: as for heap_page_entry(). */
static struct span *_Atomic *arena_entry(size_t arena)
{
	return atomic_load_explicit(&heap.arena_span, memory_order_relaxed) + arena;
}

static void set_entries(page_idx first, page_idx npages, struct span *s)
{
	const page_idx arena = ARENA_BYTES >> PAGE_SHIFT;
	page_idx i = first, end = first + npages;

	set_classes(first, s->class == SIZECLASS_LARGE ? 1 : npages, s->class);

	while (i < end) {
		if (i % arena == 0 && end - i >= arena) {
			set_entry(arena_entry(i / arena), s);
			set_entry(heap_page_entry(i), s);
			i += arena;
		} else {
			set_entry(heap_page_entry(i++), s);
		}
	}
}

void heap_map_span(page_idx first, page_idx npages, struct span *s)
{
	struct sigmask saved;

	if (likely(heap_tables_have_moved())) {
		set_entries(first, npages, s);
		return;
	}
	heap_enter(&saved);
	set_entries(first, npages, s);
	heap_leave(&saved);
}

/* The record may be changing: whoever asks about an address that is no block gets some answer. */
__attribute__((no_sanitize("thread"))) static bool holds(const struct span *s, uintptr_t p)
{
	return s && p - s->base < (uintptr_t)s->npages << PAGE_SHIFT;
}

__attribute__((no_sanitize("thread"))) static bool holds_now(const struct span *s, uintptr_t p)
{
	return holds(s, p) && s->place != SPAN_UNUSED;
}

__attribute__((no_sanitize("thread"))) struct span *heap_span_any(uintptr_t p)
{
	if (!heap_contains(p))
		return NULL;

	/* acquire: pairs with the release in set_entry(). */
	struct span *s = atomic_load_explicit(heap_page_entry(heap_page(p)), memory_order_acquire);
	struct span *around = atomic_load_explicit(arena_entry((p - heap.base) >> ARENA_SHIFT),
	                                           memory_order_acquire);

	/* What is there now before what was there. */
	if (holds_now(s, p))
		return s;
	if (holds_now(around, p))
		return around;
	return holds(s, p) ? s : holds(around, p) ? around : NULL;
}

void heap_fork_prepare(void)
{
	lock_take_for_fork(&heap.lock);
	meta_fork_prepare();
}

void heap_fork_parent(void)
{
	meta_fork_parent();
	lock_drop(&heap.lock);
}

void heap_fork_child(void)
{
	heap.pages.nreused = 0;
	meta_fork_child();
	lock_reset_after_fork(&heap.lock);
}
