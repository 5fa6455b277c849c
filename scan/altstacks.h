/* altstacks.h: alternate signal stacks for threads that have none: a store to a stack in the protected
 * heap (a coroutine's, or a thread's that the program gave it) leaves the kernel no other place for the
 * handler's frame. One that is too small for two frames, a call's within a handler, counts as none where it is
 * set. The kernel changes none on the return from a handler that stands on it.
 */
#ifndef SCAN_ALTSTACKS_H
#define SCAN_ALTSTACKS_H

#include "core/base.h"

#include <signal.h>

/* Enough for `n` threads, as far as memory goes; those of threads that are gone are free again.
 * ctx: stw */
void altstacks_prepare(unsigned n);

/* What came up since is no root. ctx: any, the world runs */
void altstacks_exclude(void);

/* If `s` is none, or too small, it becomes thread `tid`'s own. False: it stays. ctx: signal */
bool altstacks_give(int tid, stack_t *s);

/* There is one thread, `tid`, with `s`, which it may have under another number. ctx: fork child, signal */
void altstacks_fork_child(int tid, const stack_t *s);

/* If `s` is that one, it becomes what the program has set. False: it stays. ctx: any, signal */
bool altstacks_hide(int tid, stack_t *s);

#endif
