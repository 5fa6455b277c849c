/* sigmask.h: no signal handler of the program runs on this thread between block and restore.
 *
 * By rt_sigprocmask(2) itself: the program may have wrapped sigprocmask, and libc's leaves its own
 * two signals open. The signals that report a fault of the very instruction (SIGSEGV, SIGBUS,
 * SIGILL, SIGFPE, SIGTRAP, SIGSYS) and SIGABRT stay as they were.
 */
#ifndef CORE_SIGMASK_H
#define CORE_SIGMASK_H

#include "core/base.h"

/* What the kernel calls a sigset_t: bit n - 1 is signal n. */
struct sigmask {
	uint64_t bits;
};

/* Each keeps errno. Nested pairs are fine. ctx: any, signal */
void sigmask_block(struct sigmask *saved);
void sigmask_restore(const struct sigmask *saved);

/* write(2) until all is written, without SIGPIPE and SIGXFSZ for the program: whose reader has gone,
 * or whose file may not grow, is told by `false`. No cancellation point. ctx: any, signal */
bool sigmask_write(int fd, const char *p, size_t nbytes);

#endif
