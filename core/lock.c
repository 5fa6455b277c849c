/* lock.c: the waiting half of the mutex, and the check of the lock order.
 *
 * Reached from lock.h when a lock is contended, and in debug builds on every take and drop.
 * Depends on base.h and report.h only; its system call is futex(2).
 *
 * Invariants:
 *   L1  a lock that is free has no owner (lock_drop() clears it first);
 *   L2  a thread takes ranks in rising order (lock_check_order(), debug builds);
 *   L3  a sleeper exists only while the state is LOCK_AWAITED, or a wake-up is under way, or for
 *       LOCK_SLEEP_NS (lock_drop() says why): who slept takes the lock as LOCK_AWAITED, because
 *       there may be others (tests/race/lock.c).
 */
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/lock.h"

/* Critical sections are mostly shorter than a sleep and a wake-up (some microseconds). */
#define SPINS 64

_Thread_local char lock_thread_mark;

/* An error is of no interest: EAGAIN, EINTR and ETIMEDOUT mean "look again", as does success. */
static void futex(_Atomic uint32_t *word, int op, uint32_t value)
{
	const struct timespec longest = { .tv_nsec = LOCK_SLEEP_NS };
	int saved_errno = errno;

	syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value,
	        op == FUTEX_WAIT ? &longest : NULL, NULL, 0);
	errno = saved_errno;
}

static bool spin(struct lock *l)
{
	for (int i = 0; i < SPINS; i++) {
		cpu_relax();
		/* relaxed: a peek that leaves the line shared; lock_try() does the real test. */
		if (atomic_load_explicit(&l->state, memory_order_relaxed) == LOCK_FREE
		    && lock_try(l))
			return true;
	}
	return false;
}

void lock_wait(struct lock *l)
{
	/* relaxed: a count for statistics. */
	atomic_fetch_add_explicit(&l->nwaits, 1, memory_order_relaxed);
	if (spin(l))
		return;
	/* acquire: pairs with the release in lock_drop(). */
	while (atomic_exchange_explicit(&l->state, LOCK_AWAITED, memory_order_acquire) != LOCK_FREE)
		futex(&l->state, FUTEX_WAIT, LOCK_AWAITED);
	/* relaxed: as in lock_try(). */
	atomic_store_explicit(&l->owner, lock_self(), memory_order_relaxed);
	lock_note_taken(l);
}

void lock_wake(struct lock *l)
{
	futex(&l->state, FUTEX_WAKE, 1);
}

void lock_init(struct lock *l, enum lock_rank rank)
{
	/* relaxed: nobody else knows the lock yet. */
	atomic_store_explicit(&l->state, LOCK_FREE, memory_order_relaxed);
	atomic_store_explicit(&l->nwaits, 0, memory_order_relaxed);
	atomic_store_explicit(&l->owner, 0, memory_order_relaxed);
	l->rank = (uint8_t)rank;
}

void lock_reset_after_fork(struct lock *l)
{
	if (lock_held(l))
		lock_note_dropped(l);
	/* relaxed: the child has one thread. */
	atomic_store_explicit(&l->owner, 0, memory_order_relaxed);
	atomic_store_explicit(&l->state, LOCK_FREE, memory_order_relaxed);
}

#ifdef SPANGC_DEBUG
/* Locks of each rank that this thread holds. */
static _Thread_local uint32_t nheld[LOCK_NRANKS];

void lock_check_order(const struct lock *l, bool for_fork)
{
	check(l->rank > 0 && l->rank < LOCK_NRANKS);
	for (unsigned rank = l->rank + for_fork; rank < LOCK_NRANKS; rank++)
		check(nheld[rank] == 0);
}

void lock_note_taken(const struct lock *l)
{
	nheld[l->rank]++;
}

void lock_note_dropped(const struct lock *l)
{
	check(nheld[l->rank] > 0);
	nheld[l->rank]--;
}
#endif
