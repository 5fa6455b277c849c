/* biased.h: a lock that costs its owner two plain stores, and strangers a system call.
 *
 * For what one thread uses all the time and others look at now and then (the scavenger, fork,
 * statistics). Dekker's algorithm with the fence moved to the strangers' side: membarrier(2) makes
 * every other thread of the process pass a full fence, so the owner needs none. (A locked
 * instruction there waits for all stores under way: it took 15 % of a pattern that writes 1000
 * blocks and frees them.) Where the kernel has no membarrier the owner fences.
 *
 *     owner:    is_used = 1;  [fence]  wanted? -> wait : go on     ...  is_used = 0
 *     stranger: wanted = 1;   membarrier;  is_used? -> wait : go on  ...  wanted = 0
 */
#ifndef CORE_BIASED_H
#define CORE_BIASED_H

#include "core/base.h"
#include "core/lock.h"

struct biased {
	/* Owner writes. */
	_Atomic bool is_used;
	/* The holder of `strangers` writes. */
	_Atomic bool is_wanted;
	struct lock strangers;
};

extern bool biased_needs_fence;                 /* constant after biased_start() */

/* Once in the process. ctx: init */
void biased_start(void);

void biased_init(struct biased *l, enum lock_rank rank);

/* ctx: the owner's slow half */
SLOW void biased_wait(struct biased *l);

/* ctx: alloc, the owner, not holding it */
HOT void biased_enter(struct biased *l)
{
	/* relaxed: the fence, here or in the strangers' membarrier, orders it before the load. */
	atomic_store_explicit(&l->is_used, true, memory_order_relaxed);
	if (unlikely(biased_needs_fence))
		atomic_thread_fence(memory_order_seq_cst);
	else
		atomic_signal_fence(memory_order_seq_cst);
	/* acquire: pairs with the release in biased_give_back(). */
	if (unlikely(atomic_load_explicit(&l->is_wanted, memory_order_acquire)))
		biased_wait(l);
}

/* ctx: alloc, the owner */
HOT void biased_leave(struct biased *l)
{
	/* release: pairs with the acquire in biased_try(). */
	atomic_store_explicit(&l->is_used, false, memory_order_release);
}

/* A stranger takes it. False: another stranger has it, or the owner has been in it for a while:
 * it may be a thread that a signal interrupted there. ctx: alloc */
bool biased_try(struct biased *l);

/* The same in two steps, with biased_fence() between, for many locks at once: after the first says
 * true, the second must be called; if it says false the lock is as it was. */
bool biased_ask(struct biased *l);
/* The same, waiting for another stranger. Always true. ctx: before fork */
bool biased_ask_for_fork(struct biased *l);
void biased_fence(void);
bool biased_await(struct biased *l);

/* ctx: the stranger that took it */
void biased_give_back(struct biased *l);

/* Held by this stranger before the fork: free in the child. ctx: fork child */
void biased_reset_after_fork(struct biased *l);

#endif
