/* cycle.h: one collection in mode gc: what nothing leads to is found while the program runs, and
 * reclaimed. The phases, and why nothing alive is lost, are in cycle.c.
 *
 * Who runs cycles, and when, is preload's (collector.c): any thread, one at a time. Others help.
 */
#ifndef SCAN_CYCLE_H
#define SCAN_CYCLE_H

#include "core/base.h"

enum cycle_phase { CYCLE_OFF, CYCLE_MARK, CYCLE_STOP, CYCLE_SWEEP };

/* A minor cycle keeps the marks of the last one, and reads only roots, pages that were written since
 * and what is new. Where it can't be (cycle_can_be_minor()) it is a full one. */
enum cycle_kind { CYCLE_FULL, CYCLE_MINOR };

/* Once, in mode gc, after scan_threads_start() and what excludes our own memory from the roots. False:
 * threads can't be stopped here, or /proc is not there; nothing may be collected. ctx: init */
bool cycle_start(void);

/* A whole cycle, from arming to the end of the sweep. `keeps_marks`: the next one may be a minor one,
 * which costs the program a fault for each page that it writes until then. False: nothing was
 * reclaimed, cycle_last() says why; or there is another one under way. ctx: any, no lock held */
bool cycle_run(enum cycle_kind kind, bool keeps_marks);

/* ctx: who runs cycles */
bool cycle_can_be_minor(void);

/* ctx: any */
enum cycle_phase cycle_phase(void);

/* What the program holds, as far as it is known: slots in magazines count. ctx: any */
uint64_t cycle_used_bytes(void);

/* A thread that allocates helps with about so many bytes, whatever the phase is. Bytes read and swept;
 * 0: there was nothing to do. Never waits. ctx: any, no lock held */
uint64_t cycle_assist(size_t nbytes);

/* What the last cycle was like. Times by the clock unless they say cpu. */
struct cycle_last {
	uint64_t number;                        /* of cycles so far; 0: none yet */
	const char *failure;                    /* NULL: it went well */
	const char *dirty;                      /* "uffd", "mprotect", "snapshot", "stw" */
	enum cycle_kind kind;

	uint64_t began_ns, ended_ns;            /* os_now_ns(); the sweep is over */
	uint64_t arm_stop_ns;                   /* stops: from the first signal to the resume */
	uint64_t first_stop_ns, final_stop_ns;
	uint64_t mark_ns;                       /* from the first stop's end to the final one */
	uint64_t sweep_ns;
	uint64_t cpu_us;                        /* of the thread that ran it, and of a copy */
	uint64_t assist_ns;                     /* cpu, of all other threads, in both phases */
	uint64_t assist_bytes;                  /* read by them */

	uint64_t heap_before, heap_marked;      /* bytes in use: at the start, at the final stop */
	uint64_t live_bytes, live_blocks;       /* marked */
	uint64_t read_bytes;                    /* by marking: blocks and roots */
	uint64_t root_bytes;
	uint64_t dirty_pages, final_pages;      /* os pages: in all rounds, of them in the final stop */
	unsigned nrounds;                       /* of precleaning */
	unsigned nthreads, nmissed;             /* in the final stop */
	uint64_t reclaimed_bytes, reclaimed_blocks;
};

struct cycle_last cycle_last(void);

/* Why nothing was reclaimed: what the program handed to the kernel there can't be seen. */
extern const char cycle_has_uring[];

/* The child has one thread, and no cycle. ctx: fork child */
void cycle_fork_child(void);

#endif
