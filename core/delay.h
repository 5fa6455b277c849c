/* delay.h: how long pages stay free before they go back: SPANGC_RELEASE_DELAY.
 *
 * A time that the user gave is taken as it is. With `auto`, the default, the delay is between
 * DELAY_MIN_MS and DELAY_MAX_MS: it doubles while pages that were given back are wanted again and
 * their faults take more than 1 % of the time, and halves after a while without. Short delays make
 * RSS follow what the program holds: area under RSS of tests/bench/phases (400 MiB, nine tenths freed,
 * 3 s idle) 454 MiB·s with 100ms, 811 with 1s. Where memory is soon needed again, the delay grows until
 * it stays: buffers of changing sizes, 1 to 64 MiB every 100 ms for 8 s, took 1.05 s of processor time
 * with 100ms, 0.35 with 1s (an experiment; phases' buffers, of the same sizes each time, show nothing).
 */
#ifndef CORE_DELAY_H
#define CORE_DELAY_H

#include "core/base.h"
#include "core/knobs.h"

#define DELAY_MIN_MS 100
#define DELAY_MAX_MS 1000

/* Do free pages go back without being asked for? ctx: any, signal */
static inline bool delay_ends(void)
{
	return knobs.madvise != KNOB_MADVISE_NONE && knobs.release_delay_ms != KNOB_NEVER;
}

/* The delay now, in ms; KNOB_NEVER. ctx: any, signal */
uint64_t delay_ms(void);

/* How long a thread does nothing before its spans are searched for os pages without a block: its
 * faults there are not noticed, so this one does not change. ctx: any, signal */
uint64_t delay_idle_ms(void);

/* Once in a round of the scavenger. `reused_bytes` of pages that had been given back were handed out
 * again so far. ctx: LOCK_PAGES */
void delay_adapt(uint64_t now_ms, uint64_t reused_bytes);

#endif
