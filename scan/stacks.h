/* stacks.h: allocation stacks, each kept once, known by a number.
 *
 * Frame 0 of a stack is the function of the malloc family that was called, by its own address; the
 * others are return addresses, the newest first. Memory comes from the kernel, is bounded and never
 * given back: when it is full, or a stack can't be had, its number is STACKS_NONE.
 */
#ifndef SCAN_STACKS_H
#define SCAN_STACKS_H

#include "core/base.h"
#include "scan/regs.h"

#define STACKS_NONE 0
#define STACKS_DEPTH_MAX 255

/* Fills pcs with up to `max` return addresses, the newest first; how many. libunwind's
 * unw_backtrace() is one. */
typedef int stacks_unwind_fn(void **pcs, int max);

/* Tables for stacks of up to `depth` frames besides frame 0. False: no memory; then every stack is
 * STACKS_NONE. Until one of the next two is called a stack is `function` and `caller` alone.
 * ctx: init */
bool stacks_start(unsigned depth);

/* Frames are told by unwind.c. ctx: init */
void stacks_walk(void);

/* Where frames can't be told by unwind.c. ctx: init */
void stacks_unwind_with(stacks_unwind_fn *unwind);

/* Is the calling thread inside libunwind, on our behalf? ctx: any */
bool stacks_is_unwinding(void);

/* The calling thread has its stack in [base, limit), until it ends. A thread that says nothing is
 * served slower. ctx: any */
void stacks_thread_begins(uintptr_t base, uintptr_t limit);
void stacks_thread_ends(void);

/* The child has one thread. ctx: fork child */
void stacks_fork_child(void);

/* The number of the calling thread's stack: `function` was called from `caller`. In a signal handler
 * that interrupted this, and where the unwinder itself allocates, that is all. errno kept.
 * ctx: alloc */
uint32_t stacks_take(const void *function, const void *caller);

/* The same; `from` is that call, or one of ours inside of it. */
uint32_t stacks_take_from(const void *function, const void *caller, const struct regs_call *from);

/* Its frames, as words of modules.h; how many: 0 if there is no such stack. ctx: any, signal */
unsigned stacks_read(uint32_t stack, uintptr_t pcs[1 + STACKS_DEPTH_MAX]);

/* The same for one thread at a time: the frames of its last two calls stay. */
unsigned stacks_get(uint32_t stack, const uintptr_t **pcs);

/* Numbers are below this; not each is a stack's. ctx: any, signal */
uint32_t stacks_count(void);

/* Stacks that did not fit. ctx: any, signal */
uint64_t stacks_nlost(void);

#endif
