/* cycle_snapshot.h: marking in a copy of the process, which nobody writes to. */
#ifndef SCAN_CYCLE_SNAPSHOT_H
#define SCAN_CYCLE_SNAPSHOT_H

#include "core/base.h"
#include "scan/mark.h"
#include "scan/snapshot.h"

struct cycle_snapshot {
	size_t heap_bytes;                      /* when it was copied */
	struct mark_counts counts;
	uint64_t root_bytes;
	struct snapshot_pause pause;
	uint64_t cpu_us;                        /* of the copy's first thread */
	unsigned nthreads, nmissed;             /* in the stop */
	bool is_refused;                        /* there are no copies of this process */
};

/* At one moment after the call all threads are stopped and the process copied; what is reachable
 * then has its mark in core/marks.h when this returns. Before: the marks are cleared, blocks are born
 * marked, mark_set_align(align) and mark_set_workers() were called. Else the reason why not, for users;
 * no less is marked than before. ctx: any, LOCK_GC */
const char *cycle_snapshot_mark(struct cycle_snapshot *s, unsigned align);

/* ctx: fork child */
void cycle_snapshot_fork_child(void);

#endif
