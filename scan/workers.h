/* workers.h: threads of our own, unknown to libc, for as long as there is something to do.
 *
 * They can be started while the world is stopped and in a clone of the process, where libc's locks
 * may be held by threads that never run: no pthread_create. They share their creator's thread
 * pointer, block all signals, and call the kernel by regs_syscall() alone; their stacks hold 64
 * KiB.
 */
#ifndef SCAN_WORKERS_H
#define SCAN_WORKERS_H

#include "core/base.h"

#define WORKERS_MAX 32                          /* with the one that starts the others */

enum workers_use {
	WORKERS_BESIDE,                         /* the program runs on: a quarter of the processors */
	WORKERS_ALONE,                          /* it stands still, or ends: all, at most 8 */
};

/* That the calling thread may use. ctx: any, signal */
unsigned workers_processors(void);

/* Is there a processor that nobody wants, besides the caller's? The whole system's, as /proc/loadavg
 * tells; no, if it is not there. 3 us. ctx: any */
bool workers_can_be_spared(void);

/* How many workers there should be, the caller included: as SPANGC_GC_WORKERS says; auto goes by
 * the processors that the calling thread may use. ctx: any, signal */
unsigned workers_wanted(enum workers_use use);

/* Starts a thread that calls fn(number) and ends; numbers are 1 to WORKERS_MAX - 1, none twice at
 * the same time. False: the kernel refuses it. ctx: stw */
bool workers_start(unsigned number, void (*fn)(unsigned number));

/* Waits until all have ended. ctx: stw */
void workers_wait(void);

/* Is it one of them, running or about to end? Nobody stops such a thread. ctx: any */
bool workers_has(int tid);

/* They are not in this process. ctx: fork child */
void workers_fork_child(void);

/* Gives the memory of their stacks back: addresses of blocks must not lie about. ctx: stw */
void workers_drop(void);

/* Threads are started and awaited by these instead; NULL: no longer. For tests. ctx: any */
void workers_pretend(bool (*start)(unsigned number, void (*fn)(unsigned number)),
                     void (*wait)(void));

#endif
