/* cycle_phase.h: the phase of the cycle that is under way, and the threads that help in it. What each
 * phase is, and who changes it, is in cycle.c.
 */
#ifndef SCAN_CYCLE_PHASE_H
#define SCAN_CYCLE_PHASE_H

#include "core/base.h"

enum cycle_phase { CYCLE_OFF, CYCLE_MARK, CYCLE_STOP, CYCLE_SWEEP };

/* ctx: any */
enum cycle_phase cycle_phase(void);

/* ctx: who runs the cycle */
void cycle_phase_set(enum cycle_phase phase);

/* A thread that allocates helps with about so many bytes, whatever the phase is. Bytes read and swept;
 * 0: there was nothing to do. Never waits. ctx: any, no lock held */
uint64_t cycle_assist(size_t nbytes);

/* Nobody helps to mark any more, whose memory may go. ctx: who runs the cycle, the world runs */
void cycle_phase_await(void);

/* Of all threads, in the cycle that is under way, or the last one. */
struct cycle_help {
	uint64_t ns;                            /* cpu, in both phases */
	uint64_t nbytes;                        /* read */
};

/* From here on it is counted anew. ctx: who runs the cycle */
void cycle_help_clear(void);
struct cycle_help cycle_help(void);

/* No cycle, and nobody helps. ctx: fork child */
void cycle_phase_fork_child(void);

#endif
