/* collector.h: mode gc in a process: its start, and the thread that runs cycles. */
#ifndef PRELOAD_COLLECTOR_H
#define PRELOAD_COLLECTOR_H

#include "core/base.h"

/* Once in mode gc. Says so if nothing can be collected here. ctx: constructor */
void collector_start(void);

/* Is the thread there? ctx: any */
bool collector_is_there(void);

/* The child of a fork has no such thread until it needs one: where its parent had no threads but ours,
 * at its first cycle, otherwise when it makes its first one itself, for libc's and the loader's locks
 * may be held there for ever. Until then the thread that allocates collects. ctx: before fork; fork
 * child; any, in pthread_create() */
void collector_fork_prepare(void);
void collector_fork_child(void);
void collector_start_late(void);

/* Ends it, and says whether it was there; starts it again. ctx: any */
bool collector_stop(void);
void collector_resume(void);

#endif
