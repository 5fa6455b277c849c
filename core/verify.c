/* verify.c: what must hold across the structures of the heap.
 *
 * Reached from scavenge.c (each round), preload/init.c (exit) and tests. Depends on the *_verify
 * functions of each structure, and on stats.c for the totals. Signals are blocked: a handler that
 * allocates would change this thread's magazines meanwhile.
 *
 * Invariants checked here, besides those of pages.h, spanset.c and span.c:
 *   V1  a granule that holds a class is at the start of a slot that is not free, in a span in use of
 *       that class, or at the start of a large block;
 *   V2  a slot in a magazine has no such granule, is a slot of that class and not free; below the oldest
 *       stands NULL (C1 and C2 of magazine.c);
 *   V3  the parts of the heap add up, and no more blocks are allocated than slots are used.
 * V1 is looked at again while it does not hold: the block may be on its way. V2 is for the calling
 * thread's cache, V3 for processes that have one thread.
 */
#include "core/verify.h"

#include "core/cache.h"
#include "core/central.h"
#include "core/heap.h"
#include "core/magazine.h"
#include "core/sigmask.h"
#include "core/stats.h"

#include <sched.h>
#include <sys/single_threaded.h>

#define LOOKS 10000
#define RACY __attribute__((no_sanitize("thread")))

typedef uint64_t __attribute__((may_alias)) granule_word;

struct counts {
	uint64_t nsmall, nlarge;
};

static bool is_bit(const struct span *s, unsigned slot, uint64_t word)
{
	return slot < s->nslots && word >> slot % 64 & 1;
}

/* Is p the start of a slot of class c that its span does not have for free? */
static RACY bool is_taken_slot(uintptr_t p, class_idx c)
{
	const struct span *s = heap_span_any(p);

	if (!s || s->place == SPAN_UNUSED || s->place == SPAN_LARGE || s->class != c)
		return false;

	unsigned slot = span_slot(s, p);

	if (slot >= s->nslots || (uintptr_t)span_slot_address(s, slot) != p)
		return false;
	/* relaxed: a moment's value. */
	return !is_bit(s, slot, s->free[slot / 64])
	       && !is_bit(s, slot, atomic_load_explicit(&s->freed_remote[slot / 64],
	                                                memory_order_relaxed));
}

static RACY bool is_block(uintptr_t p, class_idx c)
{
	const struct span *s = heap_span_any(p);

	if (c == SIZECLASS_LARGE)
		return s && s->place == SPAN_LARGE && s->base == p;
	return is_taken_slot(p, c);
}

/* The class of the granule at p once it agrees with the span; 0 if it is of none, or by then. */
static class_idx agreed_class(uintptr_t p)
{
	for (unsigned i = 0; i < LOOKS; i++) {
		/* acquire: the span of a block that is just being handed out. */
		class_idx c = atomic_load_explicit(heap_granule(p), memory_order_acquire);

		if (!sizeclass_is_block(c))
			return SIZECLASS_NONE;
		if (is_block(p, c))
			return c;
		sched_yield();
	}
	die("check failed: an allocated block has no slot", __FILE__, __LINE__);
}

static void verify_word(size_t first, struct counts *n)
{
	for (size_t g = first; g < first + sizeof(granule_word); g++) {
		class_idx c = agreed_class(heap.base + (g << heap.granule_shift));

		n->nlarge += c == SIZECLASS_LARGE;
		n->nsmall += c && c != SIZECLASS_LARGE;
	}
}

static void verify_granules(struct counts *n)
{
	/* relaxed, both: a moment's value; a word that is not 0 is looked at again. */
	size_t nbytes = atomic_load_explicit(&heap.nbytes, memory_order_relaxed);
	size_t ngranules = nbytes >> heap.granule_shift;
	const granule_word *words = (const granule_word *)heap.granules;

	for (size_t w = 0; w < ngranules / sizeof *words; w++) {
		if (__atomic_load_n(&words[w], __ATOMIC_RELAXED))
			verify_word(w * sizeof *words, n);
	}
}

static void verify_slots(void **slots, size_t n, void *class)
{
	class_idx c = *(class_idx *)class;

	for (size_t i = 0; i < n; i++) {
		uintptr_t p = (uintptr_t)slots[i];

		check(heap_contains(p) && is_taken_slot(p, c));
		/* relaxed: only this thread could allocate it. */
		check(!sizeclass_is_block(atomic_load_explicit(heap_granule(p),
		                                               memory_order_relaxed)));
	}
}

/* What spanset_verify() can't: full spans are in no list. */
static void verify_span(const struct span *s, void *arg)
{
	(void)arg;
	if (s->place == SPAN_UNUSED || s->place == SPAN_LARGE)
		return;
	/* relaxed: there is one thread. */
	check(atomic_load_explicit(&s->owner, memory_order_relaxed));
	check(s->place != SPAN_FULL || !s->nfree);
	span_verify(s);
}

/* V3, for the only thread, with nothing half-way. */
static void verify_totals(const struct counts *n)
{
	uint64_t nused = 0;
	struct stats st;

	heap_visit_spans(verify_span, NULL);
	stats_collect(&st);
	check(stats_sum(&st) == st.heap_bytes);
	for (unsigned c = 1; c < SIZECLASS_LARGE; c++)
		nused += st.class[c].nused;
	/* A signal handler's frame may be above a malloc that has yet to write the granule. */
	check(n->nsmall <= nused && n->nlarge <= st.nlarge);
}

/* Sets *is_own_seen if this is the calling thread's: then nothing is half-way in it. */
static void verify_cache(struct cache *k, void *is_own_seen)
{
	spanset_verify(&k->spans);
	if (k != cache_tls.cache)
		return;
	for (unsigned c = 1; c < SIZECLASS_LARGE; c++) {
		class_idx class = (class_idx)c;

		magazine_visit_slots(k, class, verify_slots, &class);
		check(!k->depot.class[c].nfull || k->cap[c] == heap.classes->class[c].mag_cap);
	}
	depot_verify(&k->depot, magazine_depot_nbytes);
	*(bool *)is_own_seen = true;
}

static void verify_central(const struct spanset *set, void *arg)
{
	(void)arg;
	spanset_verify(set);
}

static void verify_pages(void)
{
	struct sigmask saved;

	heap_enter(&saved);
	pages_verify(&heap.pages);
	/* relaxed: only the holder of LOCK_PAGES writes it. */
	check((size_t)heap.pages.npages << PAGE_SHIFT
	      == atomic_load_explicit(&heap.nbytes, memory_order_relaxed));
	check(heap.npages_peak <= heap.pages.npages);
	heap_leave(&saved);
}

void verify_all(void)
{
	struct counts n = { 0 };
	struct sigmask saved;
	bool is_own_seen = false;

	sigmask_block(&saved);
	verify_pages();
	cache_visit(verify_cache, &is_own_seen);
	central_visit(verify_central, NULL);
	verify_granules(&n);
	if (is_own_seen && __libc_single_threaded)
		verify_totals(&n);
	sigmask_restore(&saved);
}
