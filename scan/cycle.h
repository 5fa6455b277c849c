/* cycle.h: one collection in mode gc: what nothing leads to is found while the program runs, and
 * reclaimed. The phases, and why nothing alive is lost, are in cycle.c.
 *
 * Who runs cycles, and when, is preload's (collector.c): any thread, one at a time. Others help.
 */
#ifndef SCAN_CYCLE_H
#define SCAN_CYCLE_H

#include "core/base.h"
#include "scan/cycle_last.h"
#include "scan/cycle_phase.h"

/* Once, in mode gc, after scan_threads_start() and what excludes our own memory from the roots. False:
 * threads can't be stopped here, or /proc is not there; nothing may be collected. ctx: init */
bool cycle_start(void);

/* A whole cycle, from arming to the end of the sweep. `keeps_marks`: the next one may be a minor one,
 * which costs the program a fault for each page that it writes until then. False: nothing was
 * reclaimed, cycle_last() says why; or there is another one under way. ctx: any, no lock held */
bool cycle_run(enum cycle_kind kind, bool keeps_marks);

/* ctx: who runs cycles */
bool cycle_can_be_minor(void);

/* The program is about to protect memory of the heap against reading: waits, the first time, for the end
 * of a cycle that may be about to read there. ctx: any, no lock held */
void cycle_expect_protection(void);

/* The child has one thread, and no cycle. ctx: fork child */
void cycle_fork_child(void);

#endif
