/* cycle_stop.h: the stops of a cycle, each of them timed, and arming, which may take some of its own.
 */
#ifndef SCAN_CYCLE_STOP_H
#define SCAN_CYCLE_STOP_H

#include "core/base.h"
#include "scan/dirty.h"

struct cycle_stop {
	uint64_t began_ns;
};

/* As scan_stop(), scan_resume(). The end notes how long it was (pauses.h), and says so: ns.
 * ctx: who runs the cycle, as scan_stop() */
bool cycle_stop_begin(struct cycle_stop *s);
uint64_t cycle_stop_end(const struct cycle_stop *s);

/* The heap as it is is armed, in one stop or many if the way wants some: `longest_ns` is that of the
 * longest one. False: nothing is armed; if it is for the way's own reasons, it is not chosen again.
 * ctx: who runs the cycle, the world runs */
bool cycle_arm(const struct dirty *d, uint64_t *longest_ns);
void cycle_disarm(const struct dirty *d);

#endif
