/* trace.h: SPANGC_GC_TRACE: a line for each cycle, in the words of Go's gctrace.
 *
 *     gc 7 @1.204s 3%: 0.05+12+0.31 ms clock, 0.1+3/9/0+0.6 ms cpu, 96->101->48 MB, 97 MB goal, 2 P, uffd
 *
 * gc N        the number of the cycle
 * @S          seconds from the start of the process to the end of the cycle
 * P%          of the processors' time since the start, what collection took
 * clock       first stop + marking beside the program + final stop
 * cpu         the same on all processors; of marking: assists / the collector's thread / 0
 * MB          heap in use at the start -> at the final stop -> after the sweep
 * goal        at which marking was to be done; "no goal" with SPANGC_GC_PERCENT=off
 * P           processors
 *
 * Before the last word, which says how writes were seen, may stand: "minor"; "forced", for one that
 * the program, a user or SPANGC_GC_PERIOD asked for; "nothing reclaimed: REASON".
 */
#ifndef SCAN_TRACE_H
#define SCAN_TRACE_H

#include "core/report.h"
#include "scan/cycle.h"

/* What the cycle itself does not know. */
struct trace_world {
	uint64_t start_ns;                      /* os_now_ns() of the process's start */
	uint64_t goal_bytes;                    /* UINT64_MAX: none */
	uint64_t after_bytes;                   /* in use after the sweep */
	unsigned nprocs;
	bool     is_forced;
};

/* As SPANGC_GC_TRACE says, until it is set. ctx: any */
bool trace_is_on(void);
void trace_set(bool is_on);

/* The line, with its newline. After tally_add() of that cycle. ctx: any */
void trace_line(struct text *t, const struct cycle_last *c, const struct trace_world *w);

#endif
