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
	int mask;                               /* which argument; -1: none */
	bool is_packed;                         /* that is the address of one, and of its size */
};

#define UNTIL_DONE { TIME_NONE, 0, -1, false }

static long real_call(long number, const long a[NARGUMENTS])
{
	return regs_gate.next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* The program's mask without the stop signal, in `copy`. */
static long without(long mask, sigset_t *copy)
{
	sigset_t set = { 0 };
	const sigset_t *result;

	if (!mask)
		return mask;
	memcpy(&set, (const void *)mask, sizeof(uint64_t));
	result = signals_without(&set, copy);
	return result == &set ? mask : (long)result;
}

/* When the wait ends. */
static uint64_t end_of(const struct wait *w, long time)
{
	int ms = (int)time;

	if (w->kind == TIME_SPEC)
		return time ? eintr_end((const struct timespec *)time) : 0;
	if (ms <= 0)
		return 0;
	return eintr_end(&(struct timespec){ ms / MS_PER_S, (long)(ms % MS_PER_S) * NS_PER_MS });
}

static void set_left(const struct wait *w, long *time, uint64_t end_ns, struct timespec *left)
{
	if (w->kind == TIME_NONE || !end_ns)
		return;
	*time = w->kind == TIME_MS ? eintr_left_ms(end_ns) : (long)eintr_left(end_ns, left);
}

static __attribute__((noinline)) long waiting(long number, struct wait w, long a[NARGUMENTS])
{
	struct { long set; size_t nbytes; } packed;
	struct timespec left;
	sigset_t copy;
	uint64_t end_ns = end_of(&w, w.kind == TIME_NONE ? 0 : a[w.time]);
	uint32_t before = eintr_count();
	long result;

	if (w.is_packed && a[w.mask]) {
		memcpy(&packed, (const void *)a[w.mask], sizeof packed);
		packed.set = without(packed.set, &copy);
		a[w.mask] = (long)&packed;
	} else if (w.mask >= 0) {
		a[w.mask] = without(a[w.mask], &copy);
	}
	while ((result = real_call(number, a)) == -1 && eintr_goes_on(before))
		set_left(&w, &a[w.time], end_ns, &left);
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
		return WAITING({ TIME_MS, number == SYS_poll ? 2 : 3, -1, false });
	case SYS_epoll_pwait:
		return WAITING({ TIME_MS, 3, 4, false });
	case SYS_epoll_pwait2:
		return WAITING({ TIME_SPEC, 3, 4, false });
	case SYS_ppoll:
		return WAITING({ TIME_NONE, 0, 3, false });
	case SYS_pselect6:
		return WAITING({ TIME_NONE, 0, 5, true });
	case SYS_nanosleep:
		return WAITING({ TIME_SPEC, 0, -1, false });
	case SYS_clock_nanosleep:
		return WAITING({ b & TIMER_ABSTIME ? TIME_NONE : TIME_SPEC, 2, -1, false });
	case SYS_rt_sigtimedwait:
		return WAITING({ TIME_SPEC, 2, 0, false });
	case SYS_semtimedop:
		return WAITING({ TIME_SPEC, 3, -1, false });
	case SYS_rt_sigsuspend:
		return WAITING({ TIME_NONE, 0, 0, false });
	case SYS_select: case SYS_pause: case SYS_semop: case SYS_msgsnd: case SYS_msgrcv:
		return WAITING(UNTIL_DONE);
	case SYS_futex:
		if ((b & FUTEX_CMD_MASK) == FUTEX_WAIT)
			return WAITING({ TIME_SPEC, 3, -1, false });
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
