/* kernel.h: pointers that the kernel keeps for the program: data of epoll, values of timers. */
#ifndef SCAN_KERNEL_H
#define SCAN_KERNEL_H

#include "core/base.h"
#include "scan/threads.h"

/* Shows each word; `what` is "epoll" or "timer". ctx: stw */
void kernel_visit(scan_range_fn *fn, void *arg);

/* The same, a moment after kernel_visit() saw the descriptors: a tenth of the time for each of them, but
 * io_uring is not looked for. ctx: stw */
void kernel_visit_again(scan_range_fn *fn, void *arg);

/* A copy of the process has none of its timers, and sees what becomes of its epoll instances. Hence:
 * which of the descriptors are such (false: no memory); their words and those of timers, which
 * kernel_visit() shows from then on; in the copy, those of instances that came up in between; all
 * of it forgotten. ctx: any, world running; stw; the copy; any, world running */
bool kernel_look(void);
void kernel_keep(void);
void kernel_keep_rest(void);
void kernel_forget(void);

/* Was a descriptor of io_uring met, by kernel_visit() or kernel_look()? Its queues may be in memory of the
 * program's own, which no mapping tells. ctx: any, stw */
bool kernel_has_uring(void);

/* Says, once, that there are pointers which can't be seen: in the queues of io_uring, if a descriptor
 * of one was met. ctx: any, world running */
void kernel_tell(void);

#endif
