/* marks.h: which blocks the collector reached: a bit for each granule of the heap; only in mode gc.
 *
 * The marker sets the bit of a block's first granule, a cycle begins by clearing all, and the sweep
 * frees what is allocated and has no mark (sweep.h). From the first marking to the end of the sweep
 * every new block is born marked: is_black says so.
 *
 * The order that makes it safe while the program runs (sweep.c says why):
 *     malloc   takes a slot, whose address stays in a register or on the stack; looks at is_black,
 *              and sets the mark; writes the granule
 *     free     clears the granule; clears the mark; the slot goes into a magazine
 * A mark where no block is, from a register or because the block was freed meanwhile, goes with the
 * sweep: after it a mark says that a block starts there, or will (marks_foresee()).
 */
#ifndef CORE_MARKS_H
#define CORE_MARKS_H

#include "core/base.h"
#include "core/heap.h"
#include "core/sweep.h"

#define MARKS_GRANULE_SHIFT 4                   /* mode gc has no other */

struct marks {
	/* Constant after heap_init(); NULL: not in mode gc. Covers the heap before heap.nbytes says so. */
	_Atomic uint64_t *bits;
	/* Written by the collector, with no lock; read by whoever allocates or frees. */
	_Atomic bool is_black;
	_Atomic bool is_sweeping;
};

extern struct marks marks;

/* Is this mode gc? ctx: any, after heap_init() */
HOT bool marks_are_on(void)
{
	return marks.bits;
}

HOT size_t marks_granule(uintptr_t p)
{
	return (p - heap.base) >> MARKS_GRANULE_SHIFT;
}

HOT bool marks_is_set(uintptr_t p)
{
	size_t g = marks_granule(p);

	/* relaxed: who must see more orders it himself. */
	return atomic_load_explicit(&marks.bits[g / 64], memory_order_relaxed) >> (g % 64) & 1;
}

HOT void marks_set(uintptr_t p)
{
	size_t g = marks_granule(p);

	/* relaxed: comes before the granule's release, in cache_hand_out() and the like. */
	atomic_fetch_or_explicit(&marks.bits[g / 64], UINT64_C(1) << (g % 64), memory_order_relaxed);
}

/* A slot that was taken becomes a block: before its granule is set, with p in a register (as
 * cache_hand_out() has it), where the stop that comes before a sweep finds it. ctx: alloc */
HOT void marks_born(const void *p)
{
	/* relaxed: who reads it late was stopped with the address in hand. */
	if (unlikely(atomic_load_explicit(&marks.is_black, memory_order_relaxed))
	    && !marks_is_set((uintptr_t)p))
		marks_set((uintptr_t)p);
}

/* Will the sweep of this cycle wipe a mark where no block is? */
HOT bool marks_are_wiped(uintptr_t p)
{
	/* relaxed, both: the granule was cleared by an exchange, which comes before these looks: a
	 * sweep that is seen not to have come by finds no block. */
	return atomic_load_explicit(&marks.is_black, memory_order_relaxed)
	       && (!atomic_load_explicit(&marks.is_sweeping, memory_order_relaxed)
	           || !sweep_has_passed(p - heap.base));
}

/* A block becomes a slot: after its granule is 0. The write waits for the line: only if it must.
 * What the sweep will wipe stays, too, so that a block that is freed and made again before it comes by
 * never looks unreached. ctx: alloc, mode gc */
HOT void marks_died(const void *p)
{
	size_t g = marks_granule((uintptr_t)p);

	/* relaxed: the slot is the caller's alone. */
	if (unlikely(marks_is_set((uintptr_t)p)) && !marks_are_wiped((uintptr_t)p))
		/* relaxed: a sweep that claims the block nevertheless asks its granule. */
		atomic_fetch_and_explicit(&marks.bits[g / 64], ~(UINT64_C(1) << (g % 64)),
		                          memory_order_relaxed);
}

/* Slots that come in a batch while is_black, before they are used: one write for those that share a
 * word of marks. The sweep wipes what was not used by then; where it has been it leaves some, and the next
 * marking begins without marks on free slots (mark_start_sticky()). Who becomes a block before that, keeps
 * its mark until the next full cycle. ctx: alloc */
void marks_set_batch(void **slots, unsigned n);

/* ctx: alloc */
HOT void marks_foresee(void **slots, unsigned n)
{
	/* relaxed: nothing depends on it. */
	if (unlikely(atomic_load_explicit(&marks.is_black, memory_order_relaxed)))
		marks_set_batch(slots, n);
}

/* No block of the first `heap_bytes` has a mark, but for those that are born or marked meanwhile.
 * ctx: any */
void marks_clear(size_t heap_bytes);

#endif
