/* cache.c: threads' caches: birth and death, the slow halves of malloc and free, visits, fork.
 *
 * Reached from cache.h (a magazine is empty or full, or the dummy), from preload (a thread ends,
 * fork) and from scavenge.c (idle caches). Depends on magazine.c, spanset.c and central.c.
 * LOCK_HEAPS guards the lists of caches and is taken with signals blocked; each cache's own lock is
 * not: a signal handler never wants its own thread's.
 *
 * Invariant, besides those of magazine.c:
 *   C4  outside of cache_enter() ... cache_leave() a thread's mags is what its cache says; but for
 *       a thread whose cache a handler attached while it was inside its very first cache_enter():
 *       its mags stays the dummy, and it goes on without (slower, and correct).
 */
#include "core/cache.h"

#include "core/block.h"
#include "core/budget.h"
#include "core/central.h"
#include "core/hooks.h"
#include "core/knobs.h"
#include "core/large.h"
#include "core/magazine.h"
#include "core/record.h"
#include "core/scavenge.h"
#include "core/sigmask.h"

#include <string.h>

/* Nobody writes here: a page of constants that is there anyway. */
static _Alignas(MAGAZINE_BYTES) void *const dummy_slots[MAGAZINE_SLOTS];

#define D1 ((void **)&dummy_slots[MAGAZINE_SLOTS - 1])
#define D8 D1, D1, D1, D1, D1, D1, D1, D1
#define D32 D8, D8, D8, D8
struct magazines cache_dummy = { { D32, D32, D32, D32, D32 } };

_Static_assert(SIZECLASS_NALL == 5 * 32, "one entry of the dummy for each class");

_Thread_local struct cache_tls cache_tls = { .mags = &cache_dummy, .cold_mags = &cache_dummy };

static struct {
	struct lock lock;

	/* LOCK_HEAPS; `all` is read without: caches are never taken out. */
	struct cache *_Atomic all;
	struct cache *idle;
	bool is_ready;
	struct sigmask fork_mask;
} caches = { .lock = LOCK_INIT(LOCK_HEAPS) };

void cache_init(void)
{
	biased_start();
	caches.is_ready = true;
}

void cache_stop(void)
{
	caches.is_ready = false;
	cache_detach();
}

static void enter_list(struct sigmask *saved)
{
	sigmask_block(saved);
	lock_take(&caches.lock);
}

static void leave_list(const struct sigmask *saved)
{
	lock_drop(&caches.lock);
	sigmask_restore(saved);
}

static struct cache *make(void)
{
	struct cache *k = meta_alloc(sizeof *k, CACHE_LINE);

	if (!k)
		return NULL;
	memcpy(&k->mags, &cache_dummy, sizeof k->mags);
	biased_init(&k->lock, LOCK_HEAP);
	/* relaxed: LOCK_HEAPS is held. */
	k->next = atomic_load_explicit(&caches.all, memory_order_relaxed);
	/* release: cache_visit() sees the cache complete. */
	atomic_store_explicit(&caches.all, k, memory_order_release);
	return k;
}

static struct cache *adopt_or_make(void)
{
	struct sigmask saved;

	enter_list(&saved);

	struct cache *k = caches.idle;

	if (k)
		caches.idle = k->next_idle;
	else
		k = make();
	if (k)
		k->is_used = true;
	leave_list(&saved);
	return k;
}

/* The magazines this mode uses. */
static struct magazines **hand(void)
{
	return heap_has_hot_path() ? &cache_tls.mags : &cache_tls.cold_mags;
}

/* A cache for the calling thread, if it may have one. Returns its magazines, in hand, or the
 * dummy. */
static struct magazines *attach(void)
{
	struct cache_tls *t = &cache_tls;

	if (t->cache || t->is_late || t->is_attaching || !caches.is_ready)
		return &cache_dummy;
	t->is_attaching = true;

	struct cache *k = adopt_or_make();

	t->is_attaching = false;
	if (!k)
		return &cache_dummy;
	t->cache = k;
	/* Its allocations must find the magazines in place. */
	*hand() = &k->mags;
	if (hooks.thread_attached)
		hooks.thread_attached();
	return cache_enter(hand());
}

/* What remains to be said or done once no lock is held and the magazines are back. */
static void finish(struct cache *k, const void *caller)
{
	/* relaxed, both: one of those who see it reports it. */
	if (unlikely(atomic_load_explicit(&k->spans.twice, memory_order_relaxed) != NULL)) {
		void *p = atomic_exchange_explicit(&k->spans.twice, NULL, memory_order_relaxed);

		if (p)
			report_misuse(MISUSE_DOUBLE_FREE, p, "free", NULL);
	}
	if (unlikely(knobs.background == KNOB_BACKGROUND_OFF))
		scavenge_tick();
	scavenge_poll(caller);
	budget_poll(caller);
}

static void *hand_out(void *p, class_idx c)
{
	if (likely(p != NULL))
		cache_hand_out(p, c);
	return p;
}

/* With the magazines `m` of this mode in hand. */
static void *alloc_in_hand(struct magazines *m, class_idx c, const void *caller)
{
	if (m == &cache_dummy)
		m = attach();
	if (m == &cache_dummy)
		return hand_out(central_alloc(c), c);

	struct cache *k = cache_tls.cache;
	void **top = m->top[c];
	void *p = *top;

	if (p)
		m->top[c] = top - 1;
	else
		p = magazine_refill(k, c);
	cache_leave(hand(), m);
	hand_out(p, c);
	finish(k, caller);
	return p;
}

/* The first allocation starts everything. False: there is no heap to be had. */
bool cache_is_started(void)
{
	if (unlikely(!caches.is_ready) && hooks.start)
		hooks.start();
	return caches.is_ready;
}

void *cache_alloc_class(class_idx c)
{
	return cache_is_started() ? alloc_in_hand(cache_enter(hand()), c, NULL) : NULL;
}

void *cache_alloc_slow(struct magazines *m, size_t nbytes, const void *caller)
{
	if (!cache_is_started())
		return NULL;
	if (heap_has_records())
		return NULL;                    /* the caller's: it knows who asks */
	if (heap_has_hot_path())
		return alloc_in_hand(m, sizeclass_of(nbytes), caller);
	nbytes += heap.tail_bytes;
	if (unlikely(nbytes > SIZECLASS_MAX))
		return large_alloc(nbytes, 1);

	class_idx c = sizeclass_of_in(heap.classes, nbytes);
	void *p = cache_take_slot(c);

	if (unlikely(!p))
		return alloc_in_hand(cache_enter(hand()), c, caller);
	cache_hand_out(p, c);
	return p;
}

/* Frees the slot p with the magazines `m` of this mode in hand; its granule is clear. */
static void free_in_hand(struct magazines *m, class_idx c, void *p, const void *caller)
{
	if (unlikely(m == &cache_dummy))
		m = attach();
	if (unlikely(m == &cache_dummy)) {
		if (!spanset_put_remote(p))
			report_misuse(MISUSE_DOUBLE_FREE, p, "free", NULL);
		return;
	}
	struct cache *k = cache_tls.cache;

	if (!magazine_is_full(m->top[c]) || magazine_make_room(k, c, p)) {
		void **top = m->top[c] + 1;

		*top = p;
		/* First the slot: a fork may come between. */
		atomic_signal_fence(memory_order_release);
		m->top[c] = top;
	}
	cache_leave(hand(), m);
	finish(k, caller);
}

/* Of a block that a sweep is looking at block_find() says when that is over. */
bool cache_bury_block(void *p, class_idx c)
{
	struct block b;

	do {
		/* A large one by an exchange: no flush will find a second free of it. */
		if (c == SIZECLASS_LARGE ? cache_bury_once(p, c) : cache_bury(p, c))
			return true;
	} while (block_find(p, &b) && b.class == c);
	return false;
}

/* Its granule is clear. */
static COLD void free_large(void *p, const void *caller)
{
	/* First, because starting a helper allocates: not from the memory freed here, or a second
	 * free of it would find a block there. */
	helper_expect(large_usable(heap_span((uintptr_t)p)));
	scavenge_poll(caller);
	large_free(p);
	scavenge_poll_due();
}

static void *cleared(void *p, class_idx c)
{
	if (unlikely(heap.clears_free))
		memset(p, 0, heap.classes->class[c].slot_bytes - heap.tail_bytes);
	return p;
}

void cache_free_block(void *p, class_idx c, const char *call, const void *caller)
{
	if (!cache_bury_block(p, c))
		block_report(p, call);
	else if (c == SIZECLASS_LARGE)
		free_large(p, caller);
	else
		free_in_hand(cache_enter(hand()), c, cleared(p, c), caller);
}

void cache_free_slow(struct magazines *m, class_idx c, void *p, const void *caller)
{
	if (m != &cache_dummy)                  /* a handler may have attached the thread meanwhile */
		cache_leave(&cache_tls.mags, m);
	if (c == SIZECLASS_NONE)
		cache_free_odd(p, caller);
	else
		cache_free_block(p, c, "free", caller);
}

/* cache_free() where the hot path is off. False: there is more to it. */
HOT bool free_slot(void *p, bool has_marks)
{
	uintptr_t offset = (uintptr_t)p - heap.base;

	if (!heap_contains((uintptr_t)p) || offset << (64 - heap.granule_shift))
		return false;

	_Atomic uint8_t *granule = heap_granule((uintptr_t)p);
	/* relaxed: see cache_find(). */
	class_idx c = atomic_load_explicit(granule, memory_order_relaxed);

	if (c >= SIZECLASS_LARGE || c == SIZECLASS_NONE)
		return false;
	/* relaxed: see record_mark_reported(). */
	if (unlikely(atomic_load_explicit(&record_has_reported, memory_order_relaxed)))
		return false;

	struct magazines *m = cache_enter(&cache_tls.cold_mags);
	void **top = m->top[c] + 1;
	bool has_room = (uintptr_t)top & (MAGAZINE_BYTES - 1);

	if (likely(has_room) && likely(has_room = cache_bury_at(granule, p, c, has_marks))) {
		*top = p;
		atomic_signal_fence(memory_order_release);      /* as in cache_free() */
		m->top[c] = top;
	}
	cache_leave(&cache_tls.cold_mags, m);
	return has_room;
}

void cache_free_as(void *p, const char *call, const void *caller)
{
	struct block b;

	if (!p)
		return;
	if (block_find(p, &b)) {
		if (heap_has_records())
			record_tell_freed(p, &b);
		if (!heap.ignores_free)
			cache_free_block(p, b.class, call, caller);
	} else if (hooks.free_elsewhere) {
		hooks.free_elsewhere(p);
	} else if (!heap.ignores_free || !block_is_reclaimed(p)) {
		block_report(p, call);
	}
}

/* Mode gc's part has a function of its own: in one function each of them saves registers that it
 * does not need (leaks: 34.6 ns a pair instead of 36.8). */
static SLOW void free_odder(void *p, const void *caller)
{
	if (heap.frees_marked ? free_slot(p, true) : !p)
		return;
	cache_free_as(p, "free", caller);
}

PLACED void cache_free_odd(void *p, const void *caller)
{
	if (unlikely(!heap.frees_plainly) || !free_slot(p, false))
		free_odder(p, caller);
}

struct spanset *cache_lock_spans(void)
{
	struct magazines *m = cache_enter(hand());

	if (m == &cache_dummy)
		m = attach();
	if (m == &cache_dummy)
		return NULL;

	biased_enter(&cache_tls.cache->lock);
	return &cache_tls.cache->spans;
}

void cache_unlock_spans(struct spanset *set)
{
	if (!set)
		return;
	biased_leave(&cache_tls.cache->lock);
	cache_leave(hand(), &cache_tls.cache->mags);
}

void cache_empty_own(void)
{
	struct spanset *set = cache_lock_spans();

	if (set)
		magazine_empty_all(cache_tls.cache);
	cache_unlock_spans(set);
}

/* Everything in `k` goes to others. */
static void strip(struct cache *k)
{
	biased_enter(&k->lock);
	magazine_empty_all(k);
	memset(k->nout, 0, sizeof k->nout);
	memset(k->nbytes_freed, 0, sizeof k->nbytes_freed);
	depot_forget(&k->depot);
	spanset_tidy(&k->spans, false);
	central_adopt(&k->spans);
	biased_leave(&k->lock);
}

/* LOCK_HEAPS is held. */
static void add_idle(struct cache *k)
{
	k->is_used = false;
	k->next_idle = caches.idle;
	caches.idle = k;
}

void cache_detach(void)
{
	struct cache_tls *t = &cache_tls;
	struct cache *k = t->cache;
	struct sigmask saved;

	t->is_late = true;
	if (!k)
		return;
	cache_enter(hand());                    /* for good */
	strip(k);
	t->cache = NULL;
	finish(k, NULL);
	enter_list(&saved);
	add_idle(k);
	leave_list(&saved);
}

static struct cache *first(void)
{
	/* acquire: pairs with the release in make(). */
	return atomic_load_explicit(&caches.all, memory_order_acquire);
}

/* With signals blocked: a handler that forks wants LOCK_HEAPS, and who holds that for another fork
 * waits for its own cache's lock, which may be the one held here. */
static void visit_stranger(struct cache *k, void (*fn)(struct cache *k, void *arg), void *arg)
{
	struct sigmask saved;

	sigmask_block(&saved);
	if (biased_try(&k->lock)) {
		fn(k, arg);
		biased_give_back(&k->lock);
	}
	sigmask_restore(&saved);
}

void cache_visit(void (*fn)(struct cache *k, void *arg), void *arg)
{
	for (struct cache *k = first(); k; k = k->next) {
		if (k == cache_tls.cache) {
			struct spanset *own = cache_lock_spans();

			if (own)
				fn(k, arg);
			cache_unlock_spans(own);
		} else {
			visit_stranger(k, fn, arg);
		}
	}
}

static void give_vacant(struct cache *k, void *arg)
{
	(void)arg;
	spanset_give_vacant(&k->spans, k->spans.npages_vacant);
}

void cache_give_vacant(void)
{
	cache_visit(give_vacant, NULL);
}

/* Other strangers are waited for: they hold a cache with signals blocked, and not for long. A
 * thread that a signal interrupted inside malloc may hold its cache's lock until the handler
 * returns, and the handler may be waiting for this fork: biased_await() gives up on it. */
static void take_caches(void)
{
	if (cache_tls.cache)
		lock_take_for_fork(&cache_tls.cache->lock.strangers);
	for (struct cache *k = first(); k; k = k->next)
		k->is_held_for_fork = k != cache_tls.cache && biased_ask_for_fork(&k->lock);
	biased_fence();
	for (struct cache *k = first(); k; k = k->next)
		k->is_held_for_fork = k->is_held_for_fork && biased_await(&k->lock);
}

void cache_fork_prepare(void)
{
	struct sigmask saved;

	sigmask_block(&saved);
	lock_take_for_fork(&caches.lock);
	caches.fork_mask = saved;
	take_caches();
	central_fork_prepare();
	heap_fork_prepare();
}

void cache_fork_parent(void)
{
	struct sigmask saved = caches.fork_mask;

	heap_fork_parent();
	central_fork_parent();
	for (struct cache *k = first(); k; k = k->next) {
		if (k->is_held_for_fork)
			biased_give_back(&k->lock);
	}
	if (cache_tls.cache)
		lock_drop(&cache_tls.cache->lock.strangers);
	lock_drop(&caches.lock);
	sigmask_restore(&saved);
}

/* Caches of threads that are gone serve new ones as they are. One whose lock could not be had
 * may be half-way through something: it is left alone for good, with what it holds. */
void cache_fork_child(void)
{
	struct sigmask saved = caches.fork_mask;

	heap_fork_child();
	central_fork_child();
	caches.idle = NULL;
	for (struct cache *k = first(); k; k = k->next) {
		if (!k->is_held_for_fork)
			continue;
		biased_reset_after_fork(&k->lock);
		add_idle(k);
	}
	if (cache_tls.cache)
		biased_reset_after_fork(&cache_tls.cache->lock);
	lock_reset_after_fork(&caches.lock);
	sigmask_restore(&saved);
}
