/* cycle_last.h: what is known of a cycle when it is over, and of what the program holds.
 *
 * Who runs cycles fills a record and publishes it; any thread reads the last one.
 */
#ifndef SCAN_CYCLE_LAST_H
#define SCAN_CYCLE_LAST_H

#include "core/base.h"

/* A minor cycle keeps the marks of the last one, and reads only roots, pages that were written since
 * and what is new. Where it can't be (cycle_can_be_minor()) it is a full one. */
enum cycle_kind { CYCLE_FULL, CYCLE_MINOR };

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

/* It is the last one from here on, whether it went well or not; gets its number. If nothing was
 * reclaimed, and that is more than a bad moment, one line says so, once. ctx: who runs cycles */
void cycle_publish(struct cycle_last *now);

/* Why nothing was reclaimed: what the program handed to the kernel there can't be seen. */
extern const char cycle_has_uring[];

/* The program does not hold so many bytes any more. ctx: who runs cycles, before the phase changes */
void cycle_note_reclaimed(uint64_t nbytes);

/* What the program holds, as far as it is known: slots in magazines count. ctx: any */
uint64_t cycle_used_bytes(void);

#endif
