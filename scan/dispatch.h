/* dispatch.h: the program's system calls while the heap is protected.
 *
 * The kernel does not raise SIGSEGV where it writes itself: it answers EFAULT, and what it had to
 * give is lost. Hence each call of the program's is reported before it is made (Syscall User Dispatch:
 * SIGSYS); the handler opens what the kernel is going to write and has the thread make the call by a
 * stub. A *window* is the time for which this is on. 1.3-1.9 us a call, 20-40 ns when there is no window.
 *
 * All threads are reported that left a stop in the window, or were made in it. Not reported: children of
 * vfork() and posix_spawn(), which share the memory; what they have the kernel write into the heap fails.
 */
#ifndef SCAN_DISPATCH_H
#define SCAN_DISPATCH_H

#include "core/base.h"

/* Does the kernel have it, for this process? ctx: any */
bool dispatch_start(void);

/* Tells the guard what threads stand on: their stacks, alternate stacks and thread records, where these
 * are in the heap. ctx: stw */
void dispatch_spare_stacks(void);

/* A window begins, for all threads that are stopped and the caller, and ends. False: SIGSYS can't be had.
 * ctx: stw, guard closed; any */
bool dispatch_begin(void);
void dispatch_end(void);

/* The calling thread runs the library's own code only, with nothing for the kernel to write into the
 * heap: its calls are not reported. ctx: any */
void dispatch_spare_thread(void);

/* Opens the stack around `sp` if it is in the heap: for the kernel's next frame as well. True: some of it was
 * closed. ctx: signal */
bool dispatch_open_stack(uintptr_t sp);

/* Calls reported so far. ctx: any */
uint64_t dispatch_ncalls(void);

/* ctx: fork child */
void dispatch_fork_child(void);

#endif
