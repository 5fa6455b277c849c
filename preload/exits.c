/* exits.c: the ends of a process in mode leaks, where reports.c writes one. In mode gc only the control's
 * socket goes, by _exit(), _Exit() and exec.
 *
 *     exit(), the end of main    last of all, behind destructors of libraries: handlers run in the
 *                                reverse order of their registration, and ours is registered by a
 *                                constructor, before libc's for the destructors
 *     quick_exit()               last of the handlers for it
 *     _exit(), _Exit()           wrapped
 *     deadly signals             where the program left the default action: the report, then that
 *                                action, so that the status stays "killed by", core dump included;
 *                                process 1 of a pid namespace goes on, as the kernel has it
 *     exec                       execs.c
 *
 * Not seen: the system calls themselves, SIGKILL. Not reported: SIGSEGV, SIGBUS, SIGFPE, SIGILL,
 * SIGTRAP, SIGSYS, SIGABRT; a child of fork() that becomes another program. While the report is
 * written at the end, signals wait; those of the deadly kind that another thread takes wait for it.
 */
#include "preload/preload.h"
#include "preload/reporter.h"

#include "core/knobs.h"
#include "core/os.h"
#include "core/sigmask.h"
#include "scan/threads.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

extern int __sigaction(int signo, const struct sigaction *new, struct sigaction *old);

#define WAIT_NS 1000000                         /* for the report that another thread writes */

/* The report at exit. */
enum state { STATE_RUNNING, STATE_REPORTING, STATE_OVER };

static _Atomic unsigned state;
static bool is_forked;                          /* not by vfork() */

/* What our own writing to a broken pipe left. */
static void drop_sigpipe(void)
{
	const struct sigmask pipe = { UINT64_C(1) << (SIGPIPE - 1) };
	const struct timespec at_once = { 0 };

	syscall(SYS_rt_sigtimedwait, &pipe, NULL, &at_once, sizeof pipe.bits);
}

static bool has_sigpipe(void)
{
	sigset_t pending;

	return !sigpending(&pending) && sigismember(&pending, SIGPIPE) == 1;
}

/* With signals blocked: none of the program's ends the process in the midst of it. */
static uint64_t write_report(const char *when)
{
	int kept = errno;
	bool had_sigpipe = has_sigpipe();
	uint64_t nbytes = reports_write_last(when);

	if (!had_sigpipe && has_sigpipe())
		drop_sigpipe();
	errno = kept;
	return nbytes;
}

/* The report at exit, once; who comes second waits until it is written. The status to end with. */
static int finish(int status, const char *when)
{
	unsigned expected = STATE_RUNNING;
	struct sigmask saved;

	if (!reports_are_on())
		return status;
	/* While the state is REPORTING no handler of ours may run here: it would wait for itself. */
	sigmask_block(&saved);
	/* relaxed, all: nothing is read that the report wrote. */
	if (!atomic_compare_exchange_strong_explicit(&state, &expected, STATE_REPORTING,
	                                             memory_order_relaxed, memory_order_relaxed)) {
		sigmask_restore(&saved);
		while (atomic_load_explicit(&state, memory_order_relaxed) == STATE_REPORTING)
			os_nap_ns(WAIT_NS);
		return status;
	}

	reporter_finish();

	uint64_t nbytes = write_report(when);

	atomic_store_explicit(&state, STATE_OVER, memory_order_relaxed);
	sigmask_restore(&saved);
	return nbytes && status == 0 ? (int)knobs.exitcode : status;
}

bool exits_are_over(void)
{
	/* relaxed: see finish(). */
	return atomic_load_explicit(&state, memory_order_relaxed) != STATE_RUNNING;
}

/* A child of fork() that only makes way for another program has nothing of its own to report. */
void exits_before_exec(void)
{
	reporter_finish();
	/* relaxed: see finish(). */
	if (reports_are_on() && !is_forked
	    && atomic_load_explicit(&state, memory_order_relaxed) == STATE_RUNNING) {
		struct sigmask saved;

		sigmask_block(&saved);
		write_report("exit");
		sigmask_restore(&saved);
	}
}

/* exit() within a handler of exit() goes on with the handlers that are left, in libc 2.36. */
static void at_exit(int status, void *arg)
{
	int wanted = finish(status, "exit");

	(void)arg;
	if (wanted != status)
		exit(wanted);
}

static void at_quick_exit_run(void)
{
	finish(0, "exit");
}

EXPORT void _exit(int status)
{
	status = finish(status, "exit");
	reporter_finish();                      /* in mode gc, which has no report */
	for (;;)
		syscall(SYS_exit_group, status);
}

EXPORT void _Exit(int status)
{
	_exit(status);
}

/* --- deadly signals --- */

static void die_of(int signo)
{
	struct sigaction default_action = { .sa_handler = SIG_DFL };

	if (getpid() == 1) {                    /* whom such a signal does nothing */
		reports_write_now("signal");
		return;
	}
	finish(0, "signal");
	__sigaction(signo, &default_action, NULL);
	raise(signo);                           /* it is blocked until we return */
}

static const struct sigaction *own_action(void)
{
	static struct sigaction action;

	action.sa_handler = die_of;
	action.sa_flags = SA_ONSTACK | SA_RESTART;
	sigfillset(&action.sa_mask);
	sigdelset(&action.sa_mask, scan_threads_signal());
	return &action;
}

/* Signals whose default action ends the process, but for SIGKILL, the faults, and SIGABRT: after
 * these the heap may be in no state to be read. */
static bool is_deadly(int signo)
{
	switch (signo) {
	case SIGHUP: case SIGINT: case SIGQUIT: case SIGUSR1: case SIGUSR2: case SIGPIPE: case SIGALRM:
	case SIGTERM: case SIGSTKFLT: case SIGXCPU: case SIGXFSZ: case SIGVTALRM: case SIGPROF:
	case SIGIO: case SIGPWR:
		return true;
	default:
		return signo >= SIGRTMIN && signo <= SIGRTMAX && signo != scan_threads_signal();
	}
}

const struct sigaction *exits_replace(int signo, const struct sigaction *new)
{
	bool is_default = new && !(new->sa_flags & SA_SIGINFO) && new->sa_handler == SIG_DFL;

	return is_default && is_deadly(signo) && reports_are_on() ? own_action() : new;
}

void exits_hide(struct sigaction *old)
{
	if (!(old->sa_flags & SA_SIGINFO) && old->sa_handler == die_of)
		*old = (struct sigaction){ .sa_handler = SIG_DFL };
}

bool exits_is_own(void (*handler)(int signo))
{
	return handler == die_of;
}

void exits_was_defaulted(int signo)
{
	if (is_deadly(signo) && reports_are_on())
		__sigaction(signo, own_action(), NULL);
}

static void catch_deadly(void)
{
	for (int signo = 1; signo <= SIGRTMAX; signo++) {
		struct sigaction old;

		if (is_deadly(signo) && !__sigaction(signo, NULL, &old) && old.sa_handler == SIG_DFL
		    && !(old.sa_flags & SA_SIGINFO))
			__sigaction(signo, own_action(), NULL);
	}
}

/* --- start, fork, demand --- */

void exits_start(void)
{
	on_exit(at_exit, NULL);
	at_quick_exit(at_quick_exit_run);
	catch_deadly();
}

/* A report of its own at its exit, whatever its parent was doing. */
void exits_fork_child(void)
{
	is_forked = true;
	/* relaxed: the child has one thread. */
	atomic_store_explicit(&state, STATE_RUNNING, memory_order_relaxed);
}

int exits_finish(int status)
{
	return finish(status, "demand");
}
