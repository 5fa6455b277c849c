/* sigmask.c: see sigmask.h. Depends on nothing but the kernel. */
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/sigmask.h"

#define BIT(signal) (UINT64_C(1) << ((signal) - 1))
#define LEFT_OPEN (BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGILL) | BIT(SIGFPE) | BIT(SIGTRAP) \
                   | BIT(SIGSYS) | BIT(SIGABRT))

static const struct sigmask blocked = { ~LEFT_OPEN };

void sigmask_block(struct sigmask *saved)
{
	int saved_errno = errno;

	/* If the kernel refuses (a seccomp filter), restoring an empty mask is refused as well. */
	saved->bits = 0;
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &blocked, saved, sizeof saved->bits);
	errno = saved_errno;
}

void sigmask_restore(const struct sigmask *saved)
{
	int saved_errno = errno;

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, saved, NULL, sizeof saved->bits);
	errno = saved_errno;
}
