/* lock.h: the mutex, and the order in which locks are taken.
 *
 * Three states in one word, futex(2) behind them. Not recursive, not fair. A lock that a signal
 * handler may also want (by calling malloc) is taken with signals blocked (core/sigmask.h):
 * lock_held() can't tell about the instant between getting the word and noting the owner.
 *
 *     state          meaning                        left by
 *     LOCK_FREE      nobody holds it                lock_take(), lock_try()
 *     LOCK_TAKEN     held, nobody sleeps            lock_drop(); lock_wait() to LOCK_AWAITED
 *     LOCK_AWAITED   held, somebody may sleep       lock_drop(), which wakes one sleeper
 *
 * A thread may take a lock only if its rank is above every rank it holds. Debug builds check this
 * on every lock_take(). fork() takes every lock in this order, and all locks of rank LOCK_HEAP in
 * the order of their list, by lock_take_for_fork().
 */
#ifndef CORE_LOCK_H
#define CORE_LOCK_H

#include "core/base.h"
#include "core/report.h"

enum lock_rank {                /* guards                                                */
	LOCK_REPORTS = 1,       /* preload/reports.c: one report of leaks at a time      */
	LOCK_IMPORTS,           /* preload/imports.c: by lock_try() only                 */
	LOCK_GC,                /* scan/cycle.c: one collection at a time; by lock_try() only */
	LOCK_WORLD,             /* scan/threads.c: one stop of the world at a time       */
	LOCK_HELPER,            /* start of the library; start and end of the helper     */
	LOCK_HEAPS,             /* the list of heaps                                     */
	LOCK_HEAP,              /* one thread's heap; never two at once, except in fork  */
	LOCK_CENTRAL,           /* the heap of the spans that nobody owns                */
	LOCK_PAGES,             /* which pages are free, the arenas, page -> span        */
	LOCK_THREADS,           /* scan/thread_stacks.c: what is known of threads of libc's */
	LOCK_ROOTS,             /* scan/roots.c: what the program added                  */
	LOCK_MODULES,           /* scan/modules.c: the list of modules; by lock_try() only */
	LOCK_META,              /* memory for our own records                            */
	LOCK_REPORT,            /* leaf: one report of several lines at a time           */
	LOCK_NRANKS
};

#define LOCK_SLEEP_NS 1000000

enum lock_state { LOCK_FREE, LOCK_TAKEN, LOCK_AWAITED };

struct lock {
	/* Any thread, atomic. */
	_Atomic uint32_t state;                 /* enum lock_state */
	_Atomic uint32_t nwaits;                /* times a thread had to wait; may wrap */
	_Atomic uintptr_t owner;                /* lock_self() of the holder, 0 if free */

	/* Constant. */
	uint8_t rank;
};

#define LOCK_INIT(r) { .rank = (r) }

/* Its address stands for the calling thread. */
extern _Thread_local char lock_thread_mark;

#ifdef SPANGC_DEBUG
void lock_check_order(const struct lock *l, bool for_fork);
void lock_note_taken(const struct lock *l);
void lock_note_dropped(const struct lock *l);
#else
static inline void lock_check_order(const struct lock *l, bool for_fork)
{
	(void)l, (void)for_fork;
}

static inline void lock_note_taken(const struct lock *l)
{
	(void)l;
}

static inline void lock_note_dropped(const struct lock *l)
{
	(void)l;
}
#endif

/* The slow halves. errno kept. ctx: any */
COLD void lock_wait(struct lock *l);
COLD void lock_wake(struct lock *l);

/* Before the first use; the same as LOCK_INIT. ctx: any */
void lock_init(struct lock *l, enum lock_rank rank);

/* In the child of fork, which has one thread: free, whoever held it. ctx: fork child */
void lock_reset_after_fork(struct lock *l);

HOT uintptr_t lock_self(void)
{
	return (uintptr_t)&lock_thread_mark;
}

/* Does the calling thread hold it? ctx: any, signal */
static inline bool lock_held(const struct lock *l)
{
	/* relaxed: only this thread ever stores its own mark, and it reads its own stores. */
	return atomic_load_explicit(&l->owner, memory_order_relaxed) == lock_self();
}

/* False: somebody holds it. Never waits, hence in any order. ctx: any, signal */
HOT bool lock_try(struct lock *l)
{
	uint32_t expected = LOCK_FREE;

	/* acquire: pairs with the release in lock_drop(). relaxed on failure: nothing is read. */
	if (!atomic_compare_exchange_strong_explicit(&l->state, &expected, LOCK_TAKEN,
	                                             memory_order_acquire, memory_order_relaxed))
		return false;
	/* relaxed: only lock_held() of this thread relies on the value. */
	atomic_store_explicit(&l->owner, lock_self(), memory_order_relaxed);
	lock_note_taken(l);
	return true;
}

HOT void lock_take_checked(struct lock *l, bool for_fork)
{
	lock_check_order(l, for_fork);
	if (unlikely(!lock_try(l)))
		lock_wait(l);
}

/* ctx: any but stw and signal */
HOT void lock_take(struct lock *l)
{
	lock_take_checked(l, false);
}

/* As lock_take(), but several locks of one rank may be held. ctx: before fork */
static inline void lock_take_for_fork(struct lock *l)
{
	lock_take_checked(l, true);
}

/* ctx: the holder */
HOT void lock_drop(struct lock *l)
{
	dcheck(lock_held(l));
	lock_note_dropped(l);
	/* relaxed: comes before the release below, thus before the next holder's mark. */
	atomic_store_explicit(&l->owner, 0, memory_order_relaxed);
	/* relaxed: a sleeper that marks the lock right after this look misses its wake-up, and
	 * therefore never sleeps longer than LOCK_SLEEP_NS. An exchange would miss none,
	 * and wait for every store under way. */
	bool is_awaited = atomic_load_explicit(&l->state, memory_order_relaxed) == LOCK_AWAITED;

	/* release: what was done under the lock comes before the next holder's work. Pairs with
	 * the acquires in lock_try() and lock_wait(). */
	atomic_store_explicit(&l->state, LOCK_FREE, memory_order_release);
	if (unlikely(is_awaited))
		lock_wake(l);
}

/* Times a thread had to wait so far. ctx: any */
static inline uint32_t lock_nwaits(const struct lock *l)
{
	/* relaxed: a count for statistics, which may be stale. */
	return atomic_load_explicit(&l->nwaits, memory_order_relaxed);
}

#endif
