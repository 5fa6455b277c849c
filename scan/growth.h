/* growth.h: what a diff compares: how much of each stack was allocated at the diff before. */
#ifndef SCAN_GROWTH_H
#define SCAN_GROWTH_H

#include "scan/leaks.h"

struct growth {
	bool     is_first;                      /* compared with nothing: the start */
	uint64_t since_ms;                      /* since then, of the process's time */
	struct leaks_sum grown, shrunk, live;
	uint32_t nshrunk;                       /* stacks */
};

/* Before the report, in the process itself: memory for what is kept. ctx: any, no lock held */
void growth_prepare(void);

/* Of entries of all that is allocated those stay that grew since the diff before, by as much; this
 * moment is kept for the next diff. False: there is no memory to keep it. ctx: any */
bool growth_compare(struct growth *g, struct leaks_entries *e, uint64_t now_ms);

#endif
