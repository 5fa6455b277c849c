/* biased.c: the strangers' half of the biased lock, and the owner's waiting.
 *
 * Reached from cache.c and magazine.c. Depends on lock.h for the order
 * among strangers and on sigmask.h; its system calls are membarrier(2) and sched_yield(2).
 *
 * Invariant: the owner is past biased_enter() only if is_wanted was false after its is_used was
 * true for all to see, so no stranger is past biased_await() then (tests/race/biased.c).
 */
#include "core/biased.h"

#include "core/sigmask.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TRIES 200                               /* yields until the owner counts as stuck */

bool biased_needs_fence = true;

static int membarrier(int command)
{
	int kept = errno;
	int result = (int)syscall(SYS_membarrier, command, 0, 0);

	errno = kept;
	return result;
}

void biased_start(void)
{
	biased_needs_fence = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) != 0;
}

void biased_init(struct biased *l, enum lock_rank rank)
{
	lock_init(&l->strangers, rank);
}

static bool is_wanted(struct biased *l)
{
	/* acquire: pairs with the release in biased_give_back(). */
	return atomic_load_explicit(&l->is_wanted, memory_order_acquire);
}

void biased_wait(struct biased *l)
{
	struct sigmask saved;

	do {
		biased_leave(l);
		/* Its holder is the one who wants. With signals blocked: a handler that forks
		 * would take it again. */
		sigmask_block(&saved);
		lock_take(&l->strangers);
		lock_drop(&l->strangers);
		sigmask_restore(&saved);
		/* seq_cst fence: orders is_used before the look at is_wanted, as membarrier does
		 * for biased_enter(). */
		atomic_store_explicit(&l->is_used, true, memory_order_relaxed);
		atomic_thread_fence(memory_order_seq_cst);
	} while (is_wanted(l));
}

static bool want(struct biased *l)
{
	/* relaxed: biased_fence() orders it before the look at is_used. */
	atomic_store_explicit(&l->is_wanted, true, memory_order_relaxed);
	return true;
}

bool biased_ask(struct biased *l)
{
	return lock_try(&l->strangers) && want(l);
}

bool biased_ask_for_fork(struct biased *l)
{
	lock_take_for_fork(&l->strangers);
	return want(l);
}

void biased_fence(void)
{
	atomic_thread_fence(memory_order_seq_cst);      /* pairs with the owner's, if it has one */
	if (!biased_needs_fence)
		membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}

bool biased_await(struct biased *l)
{
	for (unsigned i = 0; i < TRIES; i++) {
		/* acquire: pairs with the release in biased_leave(). */
		if (!atomic_load_explicit(&l->is_used, memory_order_acquire))
			return true;
		sched_yield();
	}
	biased_give_back(l);
	return false;
}

bool biased_try(struct biased *l)
{
	if (!biased_ask(l))
		return false;
	biased_fence();
	return biased_await(l);
}

void biased_give_back(struct biased *l)
{
	/* release: pairs with the acquire in biased_enter(). */
	atomic_store_explicit(&l->is_wanted, false, memory_order_release);
	lock_drop(&l->strangers);
}

void biased_reset_after_fork(struct biased *l)
{
	/* relaxed: the child has one thread. */
	atomic_store_explicit(&l->is_wanted, false, memory_order_relaxed);
	lock_reset_after_fork(&l->strangers);
}
