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
#include "scan/leaks_entries.h"
#include "scan/leaks_report.h"
#include "scan/snapshot.h"

struct leaks {
	struct leaks_sum direct, indirect, suppressed, reachable;
	struct leaks_entries entries;           /* not sorted yet */
	struct snapshot_pause pause;            /* copy_ns is 0: it stood still all the time */
	unsigned nthreads;
	unsigned nmissed;                       /* ran on: what only their registers hold looks lost */

	struct leaks_block *blocks;             /* by address */
	size_t nblocks;
};

/* Where the program's memory is limited a part is kept for reports: a sixteenth. Else, at the limit,
 * there would be none for marks. ctx: init */
void leaks_keep_memory(void);

/* Stops the world (in a copy of the process it is), marks, and classifies what is not marked. Entries
 * are of leaked blocks, of reachable ones (LEAKS_PROFILE), or of all, and then nothing is marked
 * (LEAKS_DIFF). The reason why it could not, or NULL. One at a time. ctx: any, no lock held */
const char *leaks_find(struct leaks *l, enum leaks_kind kind);

/* Marks entries that are not sorted yet, and their blocks, as suppressed, and the sums say so.
 * ctx: any */
void leaks_suppress(struct leaks *l, bool (*is_suppressed)(const struct leaks_entry *e));

/* mark_start(), with the settings of mode leaks. False: no memory. ctx: stw */
bool leaks_start_marking(void);

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
	uint16_t  thread, birth;
	bool      is_seen, is_direct;
	bool      is_suppressed;                /* after leaks_suppress() */
	bool      is_reported;                  /* before */
};

/* `list` has room for n numbers; `find` tells the allocated block around a word, or 0. ctx: stw */
void leaks_classify(struct leaks_block *blocks, uint32_t n, uint32_t *list,
                    uintptr_t (*find)(uintptr_t word));

#endif
