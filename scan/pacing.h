/* pacing.h: when a cycle is due, and what allocating threads do for it: the pacer's arithmetic, fed with
 * the clock and what cycles were like.
 *
 * Who runs cycles calls pacing_begin() before each and pacing_end() after it, under his own lock or as
 * the only one; any thread calls pacing_spent().
 */
#ifndef SCAN_PACING_H
#define SCAN_PACING_H

#include "core/base.h"
#include "scan/cycle.h"

/* Once, in mode gc, after cycle_start(): from now on the budget is set. ctx: init */
void pacing_start(void);

/* The kind of cycle that pays next. ctx: who runs cycles */
enum cycle_kind pacing_kind(void);

/* The same, of one that comes by the clock. ctx: who runs cycles */
enum cycle_kind pacing_kind_by_clock(void);

/* Is the heap where the next cycle starts? Who asked may have done so before the last one began.
 * ctx: who runs cycles */
bool pacing_is_due(void);

/* A cycle begins: should its marks be kept? ctx: who runs cycles */
bool pacing_begin(void);

/* It is over, well or not; `is_forced`: not because the heap grew. Writes the trace's line to `fd`.
 * ctx: who runs cycles */
void pacing_end(bool is_forced, int fd);

/* The budget is used up: helps with the cycle under way. True: there is none, and one is due. ctx: alloc,
 * no lock held */
bool pacing_spent(void);

/* ctx: fork child */
void pacing_fork_child(void);

#endif
