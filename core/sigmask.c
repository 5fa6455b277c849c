/* sigmask.c: see sigmask.h. Depends on nothing but the kernel. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/sigmask.h"

#define BIT(signal) (UINT64_C(1) << ((signal) - 1))
#define SETXID (__SIGRTMIN + 1)                  /* libc's: setuid() waits until each thread had it */
#define LEFT_OPEN (BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGILL) | BIT(SIGFPE) | BIT(SIGTRAP) \
                   | BIT(SIGSYS) | BIT(SIGABRT) | BIT(SETXID))

static const struct sigmask blocked = { ~LEFT_OPEN };

#define WATCHED (BIT(SIGSEGV) | BIT(SIGSYS))

/* Any thread, atomic. */
static sigmask_ask_fn *_Atomic asked_by;

/* Who watches calls keeps these two open, knows who wants them closed, and must see a mask that does. Any
 * other must not be seen: they are in no mask that was read past him, and he would forget them. */
static void change(int how, const struct sigmask *set, struct sigmask *old)
{
	/* relaxed: both ways do the same. */
	sigmask_ask_fn *ask = atomic_load_explicit(&asked_by, memory_order_relaxed);

	if (ask && !(set->bits & WATCHED)) {
		ask(SYS_rt_sigprocmask, how, (long)set, (long)old, sizeof set->bits, 0, 0);
		return;
	}

	int saved_errno = errno;

	syscall(SYS_rt_sigprocmask, how, set, old, sizeof set->bits);
	errno = saved_errno;
}

void sigmask_ask_by(sigmask_ask_fn *ask)
{
	/* relaxed: as in change(). */
	atomic_store_explicit(&asked_by, ask, memory_order_relaxed);
}

void sigmask_block(struct sigmask *saved)
{
	/* If the kernel refuses (a seccomp filter), restoring an empty mask is refused as well. */
	saved->bits = 0;
	change(SIG_BLOCK, &blocked, saved);
}

void sigmask_restore(const struct sigmask *saved)
{
	change(SIG_SETMASK, saved, NULL);
}

/* Both are sent to the thread that writes. */
#define OF_WRITING (BIT(SIGPIPE) | BIT(SIGXFSZ))

/* Those of `signals` that wait for this thread leave. */
static void take_away(uint64_t signals)
{
	static const struct timespec at_once;

	while (signals && syscall(SYS_rt_sigtimedwait, &signals, NULL, &at_once, sizeof signals) > 0)
		;
}

bool sigmask_write(int fd, const char *p, size_t nbytes)
{
	int saved_errno = errno;
	static const uint64_t signals = OF_WRITING;
	struct sigmask saved = { 0 };
	uint64_t before = 0;
	bool is_written = true;

	/* These only: a slow reader may be waited for long. */
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &signals, &saved, sizeof saved.bits);
	if (saved.bits & OF_WRITING)            /* else it can't have been waiting */
		syscall(SYS_rt_sigpending, &before, sizeof before);
	while (nbytes && is_written) {
		long n = syscall(SYS_write, fd, p, nbytes);

		if (n > 0) {
			p += n;
			nbytes -= (size_t)n;
		} else if (n == 0 || errno != EINTR) {
			is_written = false;
		}
	}
	if (!is_written)
		take_away(OF_WRITING & ~before);
	sigmask_restore(&saved);
	errno = saved_errno;
	return is_written;
}
