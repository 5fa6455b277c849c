/* scavenge.h: giving memory back to the kernel.
 *
 * Free pages go back when they have been free for SPANGC_RELEASE_DELAY, by SPANGC_MADVISE. Three
 * occasions: the helper thread, which lives while there is something to give back; the program's
 * own calls (no helper, no delay, or a memory limit in sight); malloc_trim.
 */
#ifndef CORE_SCAVENGE_H
#define CORE_SCAVENGE_H

#include "core/base.h"
#include "core/span.h"

/* So much free memory must wait before a helper is worth a thread. */
#define SCAVENGE_HELPER_BYTES MIB(8)

/* Besides those of live.h. A child begins at 0. */
struct scavenge_counts {
	_Atomic uint64_t ndiscards;                     /* MADV_DONTNEED of heap memory */
	_Atomic uint64_t nlazy;                         /* MADV_FREE of heap memory */
	_Atomic uint64_t ntable_discards;               /* MADV_DONTNEED of granules */
	_Atomic uint64_t nfailed;                       /* calls the kernel refused */
	_Atomic uint64_t nrounds;                       /* times somebody looked */
	_Atomic uint64_t cpu_us;                        /* of threads while they did */
	_Atomic uint64_t nhelpers;                      /* helper threads so far */
};

extern struct scavenge_counts scavenge_counts;

/* What scavenge_note() decided: looked at without a lock. */
extern _Atomic bool scavenge_is_due;            /* the next cold call should do a round */
extern _Atomic bool scavenge_is_help_wanted;

/* The heap's pages changed: is it time to give back? Sets the two flags.
 * ctx: alloc, LOCK_PAGES */
void scavenge_note(void);

/* So much is about to be freed: is a helper worth its while? Sets scavenge_is_help_wanted.
 * ctx: alloc */
void scavenge_expect(size_t nbytes);

/* Bytes of free slots that one owner's spans or depot hold changed: what all hold together may be
 * worth a helper, too. Counted in steps of 256 KiB, so that this is cheap. ctx: alloc */
void scavenge_note_loose(size_t from, size_t to);

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
	             | atomic_load_explicit(&scavenge_is_help_wanted, memory_order_relaxed)))
		scavenge_act(caller);
}

/* Gives back the os pages of a span that hold no allocated slot and were not given back before;
 * bytes. ctx: alloc, owner's lock */
size_t scavenge_span(struct span *s);

/* Slots of the span will be taken, or its pages leave it: what was given back from under it counts
 * as resident from now on. ctx: alloc, owner's lock */
void scavenge_untrim(struct span *s);

/* Everything that is free goes back, whatever its age; bytes. ctx: alloc */
size_t scavenge_all(void);

/* The helper's life: returns when nothing has been given back for a while or a stop is asked for.
 * ctx: a thread of ours, all signals blocked */
void scavenge_help(void);

/* Asks the helper, which was created, to end and waits until it has. ctx: any */
void scavenge_stop_helper(void);

/* preload could not start the helper; the next occasion may. ctx: any */
void scavenge_helper_failed(void);

/* ctx: fork child */
void scavenge_fork_child(void);

#endif
