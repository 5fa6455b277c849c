/* leaks.h: which allocated blocks nothing leads to.
 *
 * A leaked block is indirect if a leaked block leads to it, else direct. Of blocks that lead to each
 * other in a circle, with no other leaked block leading there, the one with the lowest address is
 * direct and the others are indirect. A block that several direct ones lead to counts as held by the
 * one with the highest address. A block that leads only to itself is direct.
 */
#ifndef SCAN_LEAKS_H
#define SCAN_LEAKS_H

#include "core/base.h"
#include "scan/snapshot.h"

struct leaks_sum {
	uint64_t nbytes, nblocks;               /* asked for */
};

/* The blocks of one stack and kind. */
struct leaks_entry {
	uint32_t stack;                         /* scan/stacks.h */
	bool     is_direct;
	bool     is_suppressed;
	struct leaks_sum sum;
	uint64_t indirect_bytes;                /* of a direct one: held by these blocks */
};

struct leaks {
	struct leaks_sum direct, indirect, suppressed, reachable;
	struct leaks_entry *entries;            /* by bytes, most first, and not suppressed first */
	uint32_t nentries;
	struct snapshot_pause pause;            /* copy_ns is 0: it stood still all the time */
	unsigned nthreads;

	struct leaks_block *blocks;             /* by address */
	size_t nblocks;
};

/* Stops the world (in a copy of the process it is), marks, and classifies what is not marked. The reason why it could not, or NULL.
 * One at a time. ctx: any, no lock held */
const char *leaks_find(struct leaks *l);

/* Marks entries as suppressed, after which the sums say so and the order is right. ctx: any */
void leaks_suppress(struct leaks *l, bool (*is_suppressed)(uint32_t stack));

/* Gives the memory back. ctx: any */
void leaks_drop(struct leaks *l);

/* The parts of leaks_find() that need no roots, for tests: blocks are noted by rising address, then
 * classified, then grouped. `is_leaked(p)`: is the allocated block at p one of them? */
struct leaks_block {
	uintptr_t p;
	size_t    nreadable;                    /* bytes from p on that may hold pointers */
	size_t    nbytes;                       /* asked for */
	uint64_t  indirect_bytes;
	uint32_t  stack;
	bool      is_seen, is_direct;
};

/* `list` has room for n numbers; `find` tells the allocated block around a word, or 0. ctx: stw */
void leaks_classify(struct leaks_block *blocks, uint32_t n, uint32_t *list,
                    uintptr_t (*find)(uintptr_t word));

#endif
