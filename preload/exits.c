/* exits.c: the ends of a process in mode leaks, where reports.c writes one.
 *
 *     exit(), the end of main    last of all, behind destructors of libraries: handlers run in the
 *                                reverse order of their registration, and ours is registered by a
 *                                constructor, before libc's for the destructors
 *     quick_exit()               last of the handlers for it
 *     _exit(), _Exit()           wrapped
 *     SIGTERM, SIGINT, SIGHUP    where the program left the default action: the report, then that
 *                                action, so that the status stays "killed by"
 *
 * Not seen: the system calls themselves, SIGKILL, other deadly signals, exec.
 */
#include "preload/preload.h"

#include "core/knobs.h"
#include "scan/threads.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

extern int __sigaction(int signo, const struct sigaction *new, struct sigaction *old);

static const int deadly[] = { SIGTERM, SIGINT, SIGHUP };

/* The report at exit was written. relaxed: who comes second has nothing to do. */
static _Atomic bool is_over;

/* The report at exit, once. The status to end with. */
static int finish(int status, const char *when)
{
	if (!reports_are_on() || atomic_exchange_explicit(&is_over, true, memory_order_relaxed))
		return status;
	return reports_write_last(when) && status == 0 ? (int)knobs.exitcode : status;
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

	finish(0, "signal");
	__sigaction(signo, &default_action, NULL);
	raise(signo);                           /* it is blocked until we return */
}

static const struct sigaction *own_action(void)
{
	static struct sigaction action;

	action.sa_handler = die_of;
	action.sa_flags = SA_ONSTACK;
	sigfillset(&action.sa_mask);
	sigdelset(&action.sa_mask, scan_threads_signal());
	return &action;
}

static bool is_deadly(int signo)
{
	for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) {
		if (signo == deadly[i])
			return reports_are_on();
	}
	return false;
}

const struct sigaction *exits_replace(int signo, const struct sigaction *new)
{
	bool is_default = new && !(new->sa_flags & SA_SIGINFO) && new->sa_handler == SIG_DFL;

	return is_default && is_deadly(signo) ? own_action() : new;
}

void exits_hide(struct sigaction *old)
{
	if (!(old->sa_flags & SA_SIGINFO) && old->sa_handler == die_of)
		*old = (struct sigaction){ .sa_handler = SIG_DFL };
}

static void catch_deadly(void)
{
	for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) {
		struct sigaction old;

		if (!__sigaction(deadly[i], NULL, &old) && old.sa_handler == SIG_DFL
		    && !(old.sa_flags & SA_SIGINFO))
			__sigaction(deadly[i], own_action(), NULL);
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
	/* relaxed: the child has one thread. */
	atomic_store_explicit(&is_over, false, memory_order_relaxed);
}

int exits_finish(int status)
{
	return finish(status, "demand");
}
