/* rawcalls.c: what eintr.c, execs.c and protects.c do for libc's functions, for programs that make these calls
 * by syscall(2) of libc's.
 *
 *     poll, select, epoll_wait and their kin, nanosleep,       a call that a stop cut short goes on,
 *     clock_nanosleep, futex, rt_sigtimedwait, semtimedop      with what is left of the time; and the stop
 *     pause, rt_sigsuspend, semop, msgsnd, msgrcv              signal is taken out of masks that are waited
 *                                                              with
 *     execve, execveat                                         no thread is stopped meanwhile. No report
 *                                                              of leaks is made before
 *     mprotect, pkey_mprotect, prctl, seccomp                  protects.c is told before
 * All others pass, as scan/regs.h says. In modes that stop threads syscall() leads here through imports.h.
 * Not reached: instructions of the program's own, calls on sockets with timeouts.
 */
#include "preload/eintr.h"
#include "preload/imports.h"
#include "preload/preload.h"

#include "core/os.h"
#include "scan/regs.h"
#include "scan/threads.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NARGUMENTS 6
#define MS_PER_S 1000
#define NS_PER_MS 1000000L

enum time_kind { TIME_NONE, TIME_MS, TIME_SPEC };

/* A call that waits. */
struct wait {
	enum time_kind kind;                    /* the kernel counts down none of these */
	int time;                               /* which argument it is */
	int rest;                               /* where the kernel writes what was left of it; -1: nowhere */
	int mask;                               /* which argument; -1: none */
	bool is_packed;                         /* that is the address of one, and of its size */
};

#define UNTIL_DONE { TIME_NONE, 0, -1, -1, false }

static long real_call(long number, const long a[NARGUMENTS])
{
	return regs_gate.next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* Can the kernel read 8 bytes there? It reads them, and then finds that -1 is no way to change a mask. */
static bool is_readable(long at)
{
	return at && regs_syscall(SYS_rt_sigprocmask, -1, at, 0, sizeof(uint64_t)) != -EFAULT;
}

/* The program's mask without the stop signal, in `copy`. One that can't be read is the kernel's to refuse. */
static long without(long mask, sigset_t *copy)
{
	sigset_t set = { 0 };
	const sigset_t *result;

	if (!is_readable(mask))
		return mask;
	memcpy(&set, (const void *)mask, sizeof(uint64_t));
	result = signals_without(&set, copy);
	return result == &set ? mask : (long)result;
}

/* The time that is given next; `first` was, when the wait began. Where the kernel writes over that what is
 * left, it stays. */
static long time_left(const struct wait *w, const long a[NARGUMENTS], uint64_t began_ns, long first,
                      struct timespec *left)
{
	int ms = (int)first;

	if (w->rest >= 0 && a[w->rest] == first)
		return first;
	if (w->kind == TIME_SPEC)
		return first ? (long)eintr_left(eintr_end(began_ns, (const struct timespec *)first), left)
		             : first;
	if (ms <= 0)
		return first;
	*left = (struct timespec){ ms / MS_PER_S, (long)(ms % MS_PER_S) * NS_PER_MS };
	return eintr_left_ms(eintr_end(began_ns, left));
}

static __attribute__((noinline)) long waiting(long number, struct wait w, long a[NARGUMENTS])
{
	struct { long set; size_t nbytes; } packed;
	struct timespec left;
	sigset_t copy;
	uint64_t began_ns = w.kind == TIME_NONE ? 0 : os_now_ns();
	uint32_t before = eintr_count();
	long first = a[w.time], result;

	if (w.is_packed && is_readable(a[w.mask]) && is_readable(a[w.mask] + (long)sizeof packed.set)) {
		memcpy(&packed, (const void *)a[w.mask], sizeof packed);
		packed.set = without(packed.set, &copy);
		a[w.mask] = (long)&packed;
	} else if (w.mask >= 0 && !w.is_packed) {
		a[w.mask] = without(a[w.mask], &copy);
	}
	while ((result = real_call(number, a)) == -1 && eintr_goes_on(before)) {
		if (w.kind != TIME_NONE)
			a[w.time] = time_left(&w, a, began_ns, first, &left);
	}
	return result;
}

static __attribute__((noinline)) long becoming(long number, const long a[NARGUMENTS])
{
	long result;
	int kept;

	scan_threads_leave();
	result = real_call(number, a);
	kept = errno;
	scan_threads_stay();
	errno = kept;
	return result;
}

#define WAITING(...) waiting(number, (struct wait)__VA_ARGS__, (long[]){ a, b, c, d, e, f })

/* The calls that do not pass by. */
#define NNUMBERS (SYS_epoll_pwait2 + 1)
static const bool is_ours[NNUMBERS] = {
	[SYS_poll] = true, [SYS_select] = true, [SYS_semop] = true, [SYS_msgsnd] = true,
	[SYS_msgrcv] = true, [SYS_pause] = true, [SYS_nanosleep] = true, [SYS_execve] = true,
	[SYS_rt_sigtimedwait] = true, [SYS_rt_sigsuspend] = true, [SYS_futex] = true,
	[SYS_semtimedop] = true, [SYS_clock_nanosleep] = true, [SYS_epoll_wait] = true,
	[SYS_pselect6] = true, [SYS_ppoll] = true, [SYS_epoll_pwait] = true, [SYS_execveat] = true,
	[SYS_epoll_pwait2] = true, [SYS_mprotect] = true, [SYS_pkey_mprotect] = true, [SYS_prctl] = true,
	[SYS_seccomp] = true,
};

/* The kernel itself counts down what select, pselect6 and ppoll are given. */
static long own_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	switch (number) {
	case SYS_poll: case SYS_epoll_wait:
		return WAITING({ TIME_MS, number == SYS_poll ? 2 : 3, -1, -1, false });
	case SYS_epoll_pwait:
		return WAITING({ TIME_MS, 3, -1, 4, false });
	case SYS_epoll_pwait2:
		return WAITING({ TIME_SPEC, 3, -1, 4, false });
	case SYS_ppoll:
		return WAITING({ TIME_NONE, 0, -1, 3, false });
	case SYS_pselect6:
		return WAITING({ TIME_NONE, 0, -1, 5, true });
	case SYS_nanosleep:
		return WAITING({ TIME_SPEC, 0, 1, -1, false });
	case SYS_clock_nanosleep:
		return WAITING({ b & TIMER_ABSTIME ? TIME_NONE : TIME_SPEC, 2, 3, -1, false });
	case SYS_rt_sigtimedwait:
		return WAITING({ TIME_SPEC, 2, -1, 0, false });
	case SYS_semtimedop:
		return WAITING({ TIME_SPEC, 3, -1, -1, false });
	case SYS_rt_sigsuspend:
		return WAITING({ TIME_NONE, 0, -1, 0, false });
	case SYS_select: case SYS_pause: case SYS_semop: case SYS_msgsnd: case SYS_msgrcv:
		return WAITING(UNTIL_DONE);
	case SYS_futex:
		if ((b & FUTEX_CMD_MASK) == FUTEX_WAIT)
			return WAITING({ TIME_SPEC, 3, -1, -1, false });
		if ((b & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET)
			return WAITING(UNTIL_DONE);
		break;
	case SYS_execve: case SYS_execveat:
		return becoming(number, (long[]){ a, b, c, d, e, f });
	case SYS_mprotect: case SYS_pkey_mprotect: case SYS_prctl: case SYS_seccomp:
		protects_expect_call(number, a, b, c);
	}
	return real_call(number, (long[]){ a, b, c, d, e, f });
}

static struct import syscall_import = { "syscall", (void *)regs_syscall_gate, NULL };

void rawcalls_start(void)
{
	imports_add(&syscall_import, 1);
	regs_gate = (struct regs_gate){ is_ours, NNUMBERS, own_syscall, syscall_import.real };
}
