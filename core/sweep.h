/* sweep.h: blocks that are allocated and have no mark become free; only in mode gc.
 *
 * A sweep goes once over the heap as it was at the final stop, in pieces that any thread may take:
 * the collector's, and malloc before it takes a fresh span or makes the heap grow. A reclaimed
 * block's granule is SIZECLASS_RECLAIMED until its slot is handed out again, or its span is another's:
 * who frees it then kept a pointer where the collector does not look, and is told so.
 *
 *     none      -> on      sweep_begin()
 *     on        -> done    the last piece is swept
 *     done      -> on      sweep_begin()
 */
#ifndef CORE_SWEEP_H
#define CORE_SWEEP_H

#include "core/base.h"

#define SWEEP_UNIT_BYTES KIB(64)                /* of the heap; pieces are multiples */
#define SWEEP_UNIT_BITS 32

struct sweep_counts {
	uint64_t nblocks, nbytes;               /* reclaimed, nbytes of slots */
	uint64_t nlarge;                        /* of them in pages of their own */
	uint64_t ns;                            /* of all threads that swept */
};

/* How far pieces were claimed: end and next unit, in one word. */
extern _Atomic uint64_t sweep_state;

HOT size_t sweep_next(uint64_t state)
{
	return (uint32_t)state;
}

HOT size_t sweep_end(uint64_t state)
{
	return state >> SWEEP_UNIT_BITS;
}

HOT bool sweep_has_more(uint64_t state)
{
	return sweep_next(state) < sweep_end(state);
}

/* Is there something left that nobody has claimed? Cheap. ctx: any */
HOT bool sweep_is_wanted(void)
{
	/* relaxed: late is as good; who claims looks again. */
	return sweep_has_more(atomic_load_explicit(&sweep_state, memory_order_relaxed));
}

/* Bytes of the heap that were claimed so far. ctx: any */
static inline size_t sweep_claimed_bytes(void)
{
	/* relaxed: a figure. */
	return sweep_next(atomic_load_explicit(&sweep_state, memory_order_relaxed)) * SWEEP_UNIT_BYTES;
}

/* Does the sweep that is on not come by, or no more, `offset` bytes from the heap's base?
 * ctx: any */
HOT bool sweep_has_passed(size_t offset)
{
	/* relaxed: see marks_died(). */
	uint64_t state = atomic_load_explicit(&sweep_state, memory_order_relaxed);
	size_t unit = offset / SWEEP_UNIT_BYTES;

	return unit < sweep_next(state) || unit >= sweep_end(state);
}

/* All threads were stopped, with every reachable block marked, when the heap had so many bytes; since
 * then blocks are born marked. The last sweep is done. ctx: any, stw */
void sweep_begin(size_t heap_bytes);

/* Claims the next nbytes or a little more, and sweeps them. False: all is claimed.
 * ctx: alloc, by several at once; holding no lock above LOCK_CENTRAL; signals are blocked meanwhile */
bool sweep_some(size_t nbytes);

/* Is every piece swept? True before the first sweep. ctx: any */
bool sweep_is_done(void);

/* When it is: what became free goes from the owners of spans to the pages. ctx: alloc, no lock held */
void sweep_finish(void);

/* Since sweep_begin(). ctx: any */
struct sweep_counts sweep_counts(void);

/* `p` had the granule of a reclaimed block: is it one? It may look so for a moment while it is
 * freed and made again, which is waited for. ctx: any, signal */
COLD bool sweep_is_reclaimed(uintptr_t p);

/* No sweep is on. ctx: fork child */
void sweep_fork_child(void);

#endif
