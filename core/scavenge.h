/* scavenge.h: giving memory back to the kernel.
 *
 * Free pages go back when they have been free for SPANGC_RELEASE_DELAY, by SPANGC_MADVISE. Four
 * occasions: the helper thread, which lives while there is something to give back; the program's
 * own calls (no helper, no delay, or a memory limit in sight); the collector's thread, where those
 * calls have stopped before a sweep's pages were free for long enough; malloc_trim.
 */
#ifndef CORE_SCAVENGE_H
#define CORE_SCAVENGE_H

#include "core/base.h"
#include "core/helper.h"

/* Besides those of discard.h and live.h. A child begins at 0. */
struct scavenge_counts {
	_Atomic uint64_t nrounds;                       /* times somebody looked */
	_Atomic uint64_t cpu_us;                        /* of threads while they did */
};

extern struct scavenge_counts scavenge_counts;

/* The next cold call should do a round: looked at without a lock. */
extern _Atomic bool scavenge_is_due;

/* The heap's pages changed: is it time to give back? Sets scavenge_is_due and helper_is_wanted.
 * ctx: alloc, LOCK_PAGES */
void scavenge_note(void);

/* The program allocates and frees, without the helper: is it time? Sets scavenge_is_due.
 * ctx: alloc */
void scavenge_tick(void);

/* Acts on the flags; `caller` is where the program called from. ctx: alloc, no lock held */
COLD void scavenge_act(const void *caller);

/* The part that starts no thread. ctx: alloc, no lock held */
void scavenge_poll_due(void);

static inline void scavenge_poll(const void *caller)
{
	/* relaxed: late is as good. */
	if (unlikely(atomic_load_explicit(&scavenge_is_due, memory_order_relaxed)
	             | atomic_load_explicit(&helper_is_wanted, memory_order_relaxed)))
		scavenge_act(caller);
}

/* A round in the helper's place, where one is wanted and no call of the program's has started it.
 * ctx: a thread of ours, at most every second; alloc, no lock held */
void scavenge_stand_in(void);

/* Everything that is free goes back, whatever its age; bytes. ctx: alloc */
size_t scavenge_all(void);

/* The helper's life: returns when nothing has been given back for a while or a stop is asked for.
 * ctx: a thread of ours, all signals blocked */
void scavenge_help(void);

/* ctx: fork child */
void scavenge_fork_child(void);

#endif
