/* cache.h: a thread's magazines; the hot path of malloc and free.
 *
 * malloc pops a slot off the magazine of its class and writes the class into the slot's granule;
 * free takes the class from the table of pages, sees that the granule agrees (0 there: nothing is
 * allocated at this address), clears it and pushes. A magazine is a stack of addresses in a block
 * of 128 pointers, aligned to its size:
 *
 *     index 0 ...   127-cap       128-cap ... top     ... 127
 *                   NULL          slots, the newest       room
 *
 *     top points at NULL: empty for malloc.    top + 1 is aligned to the block: full for free.
 *
 * A thread's only thread-local word for this, `mags`, points at its magazines, and at the dummy
 * (empty and full at once) while the thread is using them: a signal handler that interrupts it
 * there sees the dummy and goes the cold way, which touches no magazine (central.h). The same
 * dummy serves before the first malloc and after the thread's end, so the hot path has no test
 * for any of these. Measured: taking and putting back the word costs nothing that could be seen
 * (pair of malloc and free 4.9 ns with it, 5.3 ns without, the same loop with a flag 4.9 ns but
 * noisier; 7 rounds of 3 million, minima), and needs 8 bytes of TLS instead of 1.3 KB of tops.
 */
#ifndef CORE_CACHE_H
#define CORE_CACHE_H

#include "core/base.h"
#include "core/biased.h"
#include "core/depot.h"
#include "core/heap.h"
#include "core/marks.h"
#include "core/sizeclass.h"
#include "core/spanset.h"

#define MAGAZINE_SLOTS 128
#define MAGAZINE_BYTES (MAGAZINE_SLOTS * sizeof(void *))

struct magazines {
	void **top[SIZECLASS_NALL];
};

struct cache {
	/* Owner thread only, by way of the thread-local `mags`. */
	struct magazines mags;

	/* Owner's lock: the thread, and strangers that look after idle caches. */
	_Alignas(CACHE_LINE) struct biased lock;
	uint8_t cap[SIZECLASS_NALL];            /* slots the magazine takes now; 0: it has no block */
	uint32_t nbytes_freed[SIZECLASS_NALL];  /* into the spans, since some were taken there */
	uint32_t nout[SIZECLASS_NALL];          /* slots from the spans less those put there */
	struct spanset spans;
	struct depot depot;

	/* LOCK_HEAPS. */
	struct cache *next;                     /* of all caches, in the order of their making */
	struct cache *next_idle;                /* of those without a thread */
	bool is_used;                           /* by a thread */
	bool is_held_for_fork;                  /* `lock`, from prepare to the end */
};

struct cache_tls {
	struct magazines *mags;                 /* the hot path's */
	struct magazines *cold_mags;            /* in modes without a hot path; then mags is the dummy */
	struct cache *cache;
	bool is_attaching;
	bool is_late;                           /* the thread is ending: no cache any more */
};

extern struct magazines cache_dummy;
extern _Thread_local struct cache_tls cache_tls;

/* Starts everything if need be. False: there is no heap to be had. ctx: alloc */
bool cache_is_started(void);

/* Once the heap is there, before the first allocation. ctx: init */
void cache_init(void);

/* No thread allocates here any more; blocks can still be freed. ctx: init */
void cache_stop(void);

/* Takes the magazines in hand: the dummy stands in their place meanwhile. */
HOT struct magazines *cache_enter(struct magazines **hand)
{
	struct magazines *m = *hand;

	*hand = &cache_dummy;
	atomic_signal_fence(memory_order_seq_cst);      /* a handler sees the dummy from here ... */
	return m;
}

HOT void cache_leave(struct magazines **hand, struct magazines *m)
{
	atomic_signal_fence(memory_order_seq_cst);      /* ... to here */
	*hand = m;
}

/* The slow halves: the magazines `m` in hand are the dummy, or empty (full, for free). They put
 * them back. `caller` is where the program called from. Where blocks have records, allocating
 * returns NULL: cache_alloc_class() makes them. ctx: alloc */
SLOW void *cache_alloc_slow(struct magazines *m, size_t nbytes, const void *caller);
SLOW void cache_free_slow(struct magazines *m, class_idx c, void *p, const void *caller);

/* free() of an address that is NULL, or not of an allocated block, or in a mode without hot path.
 * ctx: alloc */
SLOW void cache_free_odd(void *p, const void *caller);

/* Allocates a block of class c, which is that of nbytes; what `slow` returns if the magazine is
 * empty: cache_alloc_slow() or a function around it, called last, so that nothing is saved for
 * after the call. ctx: alloc. No lock, no call, one branch that is expected. */
typedef void *cache_slow_fn(struct magazines *m, size_t nbytes, const void *caller);

HOT void *cache_alloc_or(class_idx c, size_t nbytes, cache_slow_fn *slow)
{
	struct magazines *m = cache_enter(&cache_tls.mags);
	void **top = m->top[c];
	void *p = *top;

	if (unlikely(!p))
		return slow(m, nbytes, __builtin_return_address(0));
	m->top[c] = top - 1;
	cache_leave(&cache_tls.mags, m);
	/* relaxed: nobody else knows the block yet. */
	atomic_store_explicit(heap.granules_by_address + ((uintptr_t)p >> 4), c,
	                      memory_order_relaxed);
	return p;
}

/* The same for any nbytes <= SIZECLASS_MAX. NULL: no memory. ctx: alloc */
HOT void *cache_alloc(size_t nbytes)
{
	return cache_alloc_or(sizeclass_of(nbytes), nbytes, cache_alloc_slow);
}

/* Does a block start at p? Then its class and granule. Rotating the offset puts misaligned, wild
 * and NULL pointers above every granule. The class comes from the small table of pages, so that
 * what follows need not wait for the granule, which may be far away (5 % on pairs and small
 * batches).
 * True with class 0 on pages that never held a span: every table has an entry for it that leads to
 * the slow half. ctx: any. No call. */
HOT bool cache_find(const void *p, _Atomic uint8_t **granule, class_idx *c)
{
	uintptr_t offset = (uintptr_t)p - heap.base;
	size_t g = offset >> 4 | offset << 60;

	/* acquire: pairs with the release in grow_by(): for a wild pointer too the tables cover it. */
	if (unlikely(g >= atomic_load_explicit(&heap.hot_granules, memory_order_acquire)))
		return false;
	*granule = &heap.granules[g];
	/* relaxed, both: the block's owner is alone in touching its granule; if the program frees it
	 * twice at the same instant, spanset_put() finds out. */
	*c = atomic_load_explicit(heap_page_class(offset >> PAGE_SHIFT), memory_order_relaxed);
	return atomic_load_explicit(*granule, memory_order_relaxed) == *c;
}

/* Bytes of the slot that starts at p; 0 if none does that this can tell. ctx: any. No call. */
HOT size_t cache_slot_bytes(const void *p)
{
	_Atomic uint8_t *granule;
	class_idx c;

	return likely(cache_find(p, &granule, &c)) ? sizeclass_set16.class[c].slot_bytes : 0;
}

/* Frees any block, and finds out whether p is one. ctx: alloc. No lock, no call, branches that are
 * expected. */
HOT void cache_free(void *p)
{
	_Atomic uint8_t *granule;
	class_idx c;

	if (unlikely(!cache_find(p, &granule, &c))) {
		cache_free_odd(p, __builtin_return_address(0));
		return;
	}
	struct magazines *m = cache_enter(&cache_tls.mags);
	void **top = m->top[c] + 1;

	if (unlikely(((uintptr_t)top & (MAGAZINE_BYTES - 1)) == 0)) {
		cache_free_slow(m, c, p, __builtin_return_address(0));
		return;
	}
	/* relaxed: see cache_find(). */
	atomic_store_explicit(granule, SIZECLASS_NONE, memory_order_relaxed);
	*top = p;
	atomic_signal_fence(memory_order_release);      /* first the slot: a fork may come between */
	m->top[c] = top;
	cache_leave(&cache_tls.mags, m);
}

/* Where the hot path is off: a slot of class c off the magazine, of which nobody knows that it is
 * allocated until cache_hand_out(). NULL: cache_alloc_class() will do. ctx: alloc. No lock, no call */
HOT void *cache_take_slot(class_idx c)
{
	struct magazines *m = cache_enter(&cache_tls.cold_mags);
	void **top = m->top[c];
	void *p = *top;

	if (likely(p != NULL))
		m->top[c] = top - 1;
	cache_leave(&cache_tls.cold_mags, m);
	return p;
}

/* From the moment on that it is a block its address is in a register: a scan that finds the thread
 * here finds it. */
HOT void cache_hand_out(void *p, class_idx c)
{
	__asm__ volatile("" : "+r"(p));
	marks_born(p);
	/* release: pairs with the acquire in sweep.c: first the mark. */
	atomic_store_explicit(heap_granule((uintptr_t)p), c, memory_order_release);
}

/* malloc() of mode gc, where blocks have no records. NULL: the slow half knows more.
 * ctx: alloc. No lock, no call */
HOT void *cache_alloc_marked(size_t nbytes)
{
	nbytes++;                               /* heap.tail_bytes */
	if (unlikely(heap.tail_bytes != 1 || nbytes > SIZECLASS_SMALL))
		return NULL;

	class_idx c = sizeclass_of_small(nbytes);
	void *p = cache_take_slot(c);

	if (likely(p != NULL))
		cache_hand_out(p, c);
	return p;
}

/* The opposite: the block of class c at p is none from now on. False: somebody else did the same, or
 * a sweep is looking at it. ctx: alloc */
HOT bool cache_bury_once(void *p, class_idx c)
{
	class_idx was = c;

	/* relaxed, both: only the value counts. */
	if (!atomic_compare_exchange_strong_explicit(heap_granule((uintptr_t)p), &was, SIZECLASS_NONE,
	                                             memory_order_relaxed, memory_order_relaxed))
		return false;
	if (marks_are_on())
		marks_died(p);
	return true;
}

/* The same for who is alone with the block, but for a sweep, and knows its granule and whether there
 * are marks. */
HOT bool cache_bury_at(_Atomic uint8_t *granule, void *p, class_idx c, bool has_marks)
{
	/* relaxed: who reads it late was stopped with the address in hand: the block is marked. */
	if (has_marks && unlikely(atomic_load_explicit(&marks.is_black, memory_order_relaxed)))
		return cache_bury_once(p, c);
	/* relaxed: see cache_find(). */
	atomic_store_explicit(granule, SIZECLASS_NONE, memory_order_relaxed);
	if (has_marks)
		marks_died(p);
	return true;
}

HOT bool cache_bury(void *p, class_idx c)
{
	return cache_bury_at(heap_granule((uintptr_t)p), p, c, marks_are_on());
}

/* cache_bury() that waits until the sweep has looked. False: there is no such block. ctx: alloc */
bool cache_bury_block(void *p, class_idx c);

/* A block of class c: for alignments and noscan. NULL: no memory. ctx: alloc */
void *cache_alloc_class(class_idx c);

/* The calling thread's spans with their lock held, for pages and records; NULL if it has none, or
 * if it is in a signal handler that interrupted the use of them. ctx: alloc */
struct spanset *cache_lock_spans(void);
void cache_unlock_spans(struct spanset *set);

/* The slots in the calling thread's magazines go back to their spans. ctx: alloc */
void cache_empty_own(void);

/* The calling thread ends: its slots and spans go to others; from now on it does without.
 * ctx: any */
void cache_detach(void);

/* free() under the name `call`, of any address. ctx: alloc */
COLD void cache_free_as(void *p, const char *call, const void *caller);

/* Frees the allocated block p of class c for the function `call`. ctx: alloc */
void cache_free_block(void *p, class_idx c, const char *call, const void *caller);

/* Shows every cache to `fn`, one after the other, each under its lock; those whose lock is taken
 * at that moment are left out. ctx: alloc */
void cache_visit(void (*fn)(struct cache *k, void *arg), void *arg);

/* Everybody's vacant spans go back to the pages; while the calling thread has its magazines in
 * hand, not its own.
 * ctx: alloc */
void cache_give_vacant(void);

/* ctx: fork */
void cache_fork_prepare(void);
void cache_fork_parent(void);
void cache_fork_child(void);

#endif
