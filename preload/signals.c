/* signals.c: masks and handlers as the program sees them, in the modes that stop threads.
 *
 *     sigprocmask, pthread_sigmask,      the stop signal is taken out of what gets blocked
 *     sigsuspend
 *     sigaction                          out of each handler's mask; a handler for the signal
 *                                        itself is remembered and not installed
 *                                        the same for SIGSEGV and SIGSYS in mode gc, where writes
 *                                        are seen by memory protection (faults.h)
 *     sigwait, sigwaitinfo,              the signal is nothing that is waited for: it would be
 *     sigtimedwait, signalfd             taken from the handler
 *
 * Masks by the system call itself: it is what libc does, and a handler may call it at any time,
 * when a symbol can't be looked up. signal() and its relatives, which libc's do not pass by sigaction(),
 * stand in for libc's through imports.h. Masks of ppoll, pselect and epoll_pwait, and calls that a stop cuts
 * short: eintr.c.
 */
#include "preload/eintr.h"
#include "preload/imports.h"
#include "preload/preload.h"
#include "preload/reporter.h"

#include "scan/altstacks.h"
#include "scan/faults.h"
#include "scan/regs.h"
#include "scan/threads.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KERNEL_BYTES 8                          /* of a sigset_t */

/* libc's other names for sigaction() and sigsuspend(). */
extern int __sigaction(int signo, const struct sigaction *new, struct sigaction *old);
extern int __sigsuspend(const sigset_t *set);

/* Of the stop signal, as the program knows it. */
static struct sigaction remembered;

static bool is_hidden(const sigset_t *set)
{
	return set && scan_threads_is_on() && sigismember(set, scan_threads_signal()) == 1;
}

const sigset_t *signals_without(const sigset_t *set, sigset_t *copy)
{
	if (likely(!is_hidden(set)))
		return set;
	*copy = *set;
	sigdelset(copy, scan_threads_signal());
	return copy;
}

/* libc's own two signals, below SIGRTMIN, stay open, as libc sees to: sigdelset() refuses them. */
static void leave_libcs_open(sigset_t *set)
{
	uint64_t bits;

	memcpy(&bits, set, sizeof bits);
	bits &= ~(UINT64_C(3) << (SIGRTMIN - 3));
	memcpy(set, &bits, sizeof bits);
}

/* While the kernel does not know all that the program wants blocked. It is told in two steps, for nobody
 * else changes the thread's mask. */
static int change_hidden_mask(int how, const sigset_t *set, sigset_t *old)
{
	uint64_t wanted, seen, mask = 0;
	int tid = (int)syscall(SYS_gettid);

	if (set && how != SIG_BLOCK && how != SIG_UNBLOCK && how != SIG_SETMASK)
		return EINVAL;
	if (set)
		memcpy(&wanted, set, sizeof wanted);
	regs_syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&mask, KERNEL_BYTES);
	faults_change_mask(tid, how, set ? &wanted : NULL, &seen, &mask);
	regs_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, KERNEL_BYTES);
	if (old)
		memcpy(old, &seen, sizeof seen);
	return 0;
}

static int change_mask(int how, const sigset_t *set, sigset_t *old)
{
	sigset_t copy;
	int kept = errno, error = 0;

	if (set && how != SIG_UNBLOCK) {
		copy = *signals_without(set, &copy);
		leave_libcs_open(&copy);
		set = &copy;
	}
	if (faults_owns(SIGSEGV))
		error = change_hidden_mask(how, set, old);
	else if (syscall(SYS_rt_sigprocmask, how, set, old, KERNEL_BYTES))
		error = errno;
	else if (set && faults_owns(SIGSEGV))   /* since the call, or after a whole window before it */
		error = change_hidden_mask(how, set, NULL);
	errno = kept;
	return error;
}

EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	return change_mask(how, set, old);
}

EXPORT int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	int error = change_mask(how, set, old);

	if (!error)
		return 0;
	errno = error;
	return -1;
}

EXPORT int sigsuspend(const sigset_t *set)
{
	sigset_t copy;
	uint32_t before;

	do {
		before = eintr_count();
		__sigsuspend(signals_without(set, &copy));
	} while (errno == EINTR && eintr_was_cut(before));
	return -1;
}

static int remember(const struct sigaction *new, struct sigaction *old)
{
	struct sigaction before = remembered;

	if (new)
		remembered = *new;
	if (old)
		*old = before;
	return 0;
}

EXPORT int sigaction(int signo, const struct sigaction *new, struct sigaction *old)
{
	struct sigaction copy;

	if (!scan_threads_is_on())
		return __sigaction(signo, new, old);
	if (signo == scan_threads_signal())
		return remember(new, old);
	if (faults_owns(signo)) {
		faults_sigaction(signo, new, old);
		return 0;
	}
	if (new && is_hidden(&new->sa_mask)) {
		copy = *new;
		sigdelset(&copy.sa_mask, scan_threads_signal());
		new = &copy;
	}

	int result = __sigaction(signo, exits_replace(signo, reporter_replace(signo, new)), old);

	if (!result && old)
		exits_hide(old);
	if (!result)
		reporter_note(signo, new, old);
	return result;
}

/* Looked up when first called, which no handler may: none of these is for handlers. */
#define next_function(name) \
	static __typeof__(name) *f; \
	if (unlikely(!f)) \
		f = init_find_next(#name)

EXPORT int sigwait(const sigset_t *set, int *signo)
{
	sigset_t copy;

	next_function(sigwait);
	return f(signals_without(set, &copy), signo);
}

EXPORT int sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
	sigset_t copy;
	uint32_t before;
	int signo;

	next_function(sigwaitinfo);
	do {
		before = eintr_count();
		signo = f(signals_without(set, &copy), info);
	} while (signo == -1 && errno == EINTR && eintr_was_cut(before));
	return signo;
}

EXPORT int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *longest)
{
	uint64_t end_ns = eintr_end(longest);
	uint32_t before = eintr_count();
	struct timespec left;
	sigset_t copy;
	int signo;

	next_function(sigtimedwait);
	while ((signo = f(signals_without(set, &copy), info, longest)) == -1 && errno == EINTR
	       && eintr_was_cut(before)) {
		if (longest)
			longest = eintr_left(end_ns, &left);
	}
	return signo;
}

EXPORT int signalfd(int fd, const sigset_t *set, int flags)
{
	sigset_t copy;

	return (int)syscall(SYS_signalfd4, fd, signals_without(set, &copy), KERNEL_BYTES, flags);
}

/* --- without an exported wrapper --- */

enum {
	NR_SIGNAL, NR_BSD_SIGNAL, NR_SSIGNAL, NR_SYSV_SIGNAL, NR___SYSV_SIGNAL, NR_SIGSET, NR_SIGIGNORE,
	NR_SIGHOLD, NR_SIGALTSTACK, NFUNCTIONS
};

static struct import import[NFUNCTIONS];

typedef void handler_fn(int signo);
typedef handler_fn *set_fn(int signo, handler_fn *handler);

/* As libc's have it. */
static const unsigned set_flags[NFUNCTIONS] = {
	[NR_SIGNAL] = SA_RESTART,
	[NR_SYSV_SIGNAL] = (unsigned)SA_RESETHAND | SA_NODEFER,
};

/* libc's goes first, for each of them has flags of its own. */
static handler_fn *set_handler(unsigned nr, int signo, handler_fn *handler)
{
	struct sigaction new = { .sa_handler = handler }, old;

	if (signo == scan_threads_signal()) {
		remember(handler == SIG_HOLD ? NULL : &new, &old);
		return old.sa_handler;
	}
	if (faults_owns(signo) && handler != SIG_HOLD) {
		new.sa_flags = (int)set_flags[nr];
		faults_sigaction(signo, &new, &old);
		return old.sa_handler;
	}

	handler_fn *before = ((set_fn *)import[nr].real)(signo, handler);

	if (before == SIG_ERR)
		return before;
	if (handler == SIG_DFL)
		exits_was_defaulted(signo);
	before = reporter_was_set(signo, handler, before);
	return exits_is_own(before) ? SIG_DFL : before;
}

static handler_fn *our_signal(int signo, handler_fn *handler)
{
	return set_handler(NR_SIGNAL, signo, handler);
}

static handler_fn *our_sysv_signal(int signo, handler_fn *handler)
{
	return set_handler(NR_SYSV_SIGNAL, signo, handler);
}

static handler_fn *our_sigset(int signo, handler_fn *handler)
{
	return set_handler(NR_SIGSET, signo, handler);
}

static int our_sigignore(int signo)
{
	if (faults_owns(signo))
		return our_signal(signo, SIG_IGN) == SIG_ERR;
	return signo == scan_threads_signal() ? 0 : ((int (*)(int))import[NR_SIGIGNORE].real)(signo);
}

static int our_sighold(int signo)
{
	return signo == scan_threads_signal() ? 0 : ((int (*)(int))import[NR_SIGHOLD].real)(signo);
}

typedef int sigaltstack_fn(const stack_t *new, stack_t *old);

static int our_sigaltstack(const stack_t *new, stack_t *old)
{
	sigaltstack_fn *real = (sigaltstack_fn *)import[NR_SIGALTSTACK].real;
	int result, tid;

	if (!faults_owns(SIGSEGV) || !old)
		return real(new, old);
	tid = (int)syscall(SYS_gettid);
	result = real(new, old);
	if (!result)
		altstacks_hide(tid, old);
	return result;
}

static struct import import[NFUNCTIONS] = {
	[NR_SIGALTSTACK] = { "sigaltstack", (void *)our_sigaltstack, NULL },
	[NR_SIGNAL] = { "signal", (void *)our_signal, NULL },
	[NR_BSD_SIGNAL] = { "bsd_signal", (void *)our_signal, NULL },
	[NR_SSIGNAL] = { "ssignal", (void *)our_signal, NULL },
	[NR_SYSV_SIGNAL] = { "sysv_signal", (void *)our_sysv_signal, NULL },
	[NR___SYSV_SIGNAL] = { "__sysv_signal", (void *)our_sysv_signal, NULL },
	[NR_SIGSET] = { "sigset", (void *)our_sigset, NULL },
	[NR_SIGIGNORE] = { "sigignore", (void *)our_sigignore, NULL },
	[NR_SIGHOLD] = { "sighold", (void *)our_sighold, NULL },
};

void signals_start(void)
{
	imports_add(import, NFUNCTIONS);
}
