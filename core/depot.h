/* depot.h: where a thread's magazines come from, and its full ones beyond the one in use of each
 * class.
 *
 * A thread that frees some thousand blocks and then allocates as many would carry every slot to its
 * span and back, which costs about as much as the calls themselves. The depot exchanges whole
 * magazines instead (the idea is Bonwick and Adams', "Magazines and Vmem", 2001; their depot is
 * shared, this one is a thread's own). Batches of 1000 blocks of 64 bytes: 7.8 ns a pair instead of
 * 9.6; 10,000 mixed blocks freed at random: 13.1 instead of 16.7.
 *
 * How many magazines of a class it takes is learnt: as many as went to the spans and were then
 * missed, if that is at most DEPOT_CLASS_BYTES; none if it is more. (With 256 KiB 100,000 mixed
 * blocks were slower than without a depot, 44 ns instead of 37: slots from the spans come in the
 * order of their addresses, those from a depot in the order they were freed.)
 *
 * While a magazine lies in a depot, index 0 of its block leads to the next one.
 */
#ifndef CORE_DEPOT_H
#define CORE_DEPOT_H

#include "core/base.h"
#include "core/sizeclass.h"

#define DEPOT_BYTES MIB(2)

/* Of one class. Who frees more than this to the spans before it takes any from them gives up memory
 * (magazine.c): what the depot would keep the next time is not given up. */
#define DEPOT_CLASS_BYTES KIB(96)

struct depot_class {
	void   **full;                          /* the newest; index 0 of each leads to the next */
	uint16_t nfull;
	uint16_t limit;                         /* magazines */
};

/* Owner's lock. All zero when new. */
struct depot {
	struct depot_class class[SIZECLASS_NALL];
	void **empty;
	char  *fresh;                           /* blocks that were never used */
	unsigned nfresh;
	size_t nbytes;                          /* of full magazines and the slots in them */
};

/* The block of an empty magazine. NULL: no memory. ctx: alloc, owner's lock */
void **depot_block(struct depot *d);

/* Takes the full magazine of `nbytes` in slots, and gives an empty one for it. NULL: no more of this
 * class. ctx: alloc, owner's lock */
void **depot_put(struct depot *d, class_idx c, void **full, size_t nbytes);

/* The newest full magazine. NULL: there is none. ctx: alloc, owner's lock */
void **depot_take(struct depot *d, class_idx c, size_t nbytes);

/* Takes an empty magazine. ctx: alloc, owner's lock */
void depot_drop(struct depot *d, void **empty);

/* Slots of class c were wanted after `nbytes` of them had gone to the spans, in magazines of
 * `nbytes_each`. Nothing is learnt where free memory may not wait (no delay, or a memory limit). What
 * lies there beyond a smaller limit stays until it is taken. ctx: alloc, owner's lock */
void depot_learn(struct depot *d, class_idx c, size_t nbytes, size_t nbytes_each);

/* The thread has ended: the next one has habits of its own. ctx: alloc, owner's lock */
void depot_forget(struct depot *d);

/* `nbytes_each` says what a magazine of a class holds in the depot. ctx: owner's lock */
void depot_verify(const struct depot *d, size_t (*nbytes_each)(class_idx c));

#endif
