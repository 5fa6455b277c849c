/* tally.h: all cycles since the start, in sums. */
#ifndef SCAN_TALLY_H
#define SCAN_TALLY_H

#include "scan/cycle.h"

enum tally {
	TALLY_FULL, TALLY_MINOR,                /* cycles that went well */
	TALLY_FAILED,                           /* that reclaimed nothing, for want of something */
	TALLY_FALLBACKS,                        /* another way of seeing writes than the cycle before */
	TALLY_MARK_NS, TALLY_SWEEP_NS,          /* by the clock, beside the program */
	TALLY_ASSIST_NS,                        /* of allocating threads */
	TALLY_CPU_NS,                           /* of the thread that collects */
	TALLY_STOPPED_NS,
	TALLY_READ_BYTES,                       /* blocks and roots */
	TALLY_MARKED_BYTES, TALLY_MARKED_BLOCKS,
	TALLY_RECLAIMED_BYTES, TALLY_RECLAIMED_BLOCKS,
	TALLY_DIRTY_PAGES,                      /* os pages read again */
	TALLY_COUNT
};

/* A cycle ended, well or not. ctx: any, one thread at a time */
void tally_add(const struct cycle_last *c);

/* ctx: any */
uint64_t tally_get(enum tally what);

/* How writes were seen in the last cycle; NULL: there was none. ctx: any */
const char *tally_dirty(void);

/* Processor time of collection so far, stops counted on each of `nprocs`. ctx: any */
uint64_t tally_cost_ns(unsigned nprocs);

/* Of the parent none count. ctx: fork child */
void tally_fork_child(void);

#endif
