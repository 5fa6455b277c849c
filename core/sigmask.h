/* sigmask.h: no signal handler of the program runs on this thread between block and restore.
 *
 * By rt_sigprocmask(2) itself: the program may have wrapped sigprocmask, and libc's leaves its own
 * two signals open. The signals that report a fault of the very instruction (SIGSEGV, SIGBUS,
 * SIGILL, SIGFPE, SIGTRAP, SIGSYS) and SIGABRT stay as they were, and so does libc's for setuid(), which
 * may be called while a report is written.
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

/* From now on `ask` asks the kernel, instead of libc's syscall(): it keeps errno and gives -errno. For where
 * the library has the process's calls reported to itself (scan/dispatch.h): two for each lock are its
 * own. A mask that closes SIGSEGV or SIGSYS is still reported. ctx: any */
typedef long sigmask_ask_fn(long number, long a, long b, long c, long d, long e, long f);
void sigmask_ask_by(sigmask_ask_fn *ask);

/* write(2) until all is written, without SIGPIPE and SIGXFSZ for the program: whose reader has gone,
 * or whose file may not grow, is told by `false`. No cancellation point. ctx: any, signal */
bool sigmask_write(int fd, const char *p, size_t nbytes);

#endif
