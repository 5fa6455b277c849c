/* report_room.h: what a report needs, where the program has little left of it. */
#ifndef PRELOAD_REPORT_ROOM_H
#define PRELOAD_REPORT_ROOM_H

#include "core/base.h"

/* ctx: constructor */
void report_room_start(void);

/* Calls fn on a stack of our own, for the program's may be an alternate one of 8 KiB, and with some
 * more file descriptors, where the program has used up its own and the hard limit leaves any.
 * ctx: any, LOCK_REPORTS, signals blocked */
void report_room_run(void (*fn)(void *arg), void *arg);

#endif
