/* reporter.c: a thread that has reports written: when SPANGC_REPORT_SIGNAL comes, as often as
 * SPANGC_REPORT_EVERY says, and when SPANGC_CONTROL's socket asks (control.c).
 *
 * Reached from the constructor, from fork and from the program's threads (the signal's handler). It
 * blocks all signals but the stop signal, which serves to wake it as well: whoever
 * wants something leaves a word and sends that signal. If the others end it is the last one, and
 * exit() and the program's handlers run on it: it looks once a second whether it is.
 *
 *     reporter.state     meaning                                  left by
 *     REPORTER_NONE      no setting asks for it                   reporter_start()
 *     REPORTER_LATE      a fork child that has not got it yet     reporter_start_late()
 *     REPORTER_RUNS      it is there                              reporter_stop(), reporter_fork_child()
 *     REPORTER_STOPPED   a call that needs one thread is made     reporter_resume()
 */
#include "preload/reporter.h"

#include "preload/collector.h"
#include "preload/own_thread.h"
#include "preload/preload.h"

#include "core/helper.h"
#include "core/knobs.h"
#include "core/os.h"
#include "core/report.h"
#include "scan/cuts.h"
#include "scan/maps.h"
#include "scan/peek.h"
#include "scan/threads.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CHILD_MS 50                             /* until a fork child is taken seriously */
#define LOOK_MS 1000                            /* is there another thread? is the socket ours? */
#define KERNEL_BYTES 8                          /* of a sigset_t */
#define BIT(signal) (UINT64_C(1) << ((signal) - 1))
#define SETXID (__SIGRTMIN + 1)                 /* as in core/sigmask.c */

extern int __sigaction(int signo, const struct sigaction *new, struct sigaction *old);

enum reporter_state { REPORTER_NONE, REPORTER_LATE, REPORTER_RUNS, REPORTER_STOPPED };

static struct {
	/* Whoever starts and stops it: one at a time. */
	pthread_t thread;
	struct sigaction seen;                  /* for the signal, by the program */

	/* Before fork, for its child. */
	bool was_alone;                         /* the program had one thread */
	bool is_child;

	/* Any thread, atomic. */
	_Atomic uint32_t state;                 /* enum reporter_state */
	_Atomic int tid;                        /* 0: it is not there */
	_Atomic bool is_wanted;                 /* a report is */
	_Atomic bool is_leaving;
} reporter;

static enum reporter_state state_of(void)
{
	/* relaxed: nothing is read that goes with it. */
	return atomic_load_explicit(&reporter.state, memory_order_relaxed);
}

/* ctx: any, signal */
static void wake(void)
{
	int kept = errno;
	/* relaxed: at the worst it sleeps until its next look. */
	int tid = atomic_load_explicit(&reporter.tid, memory_order_relaxed);

	if (tid)
		syscall(SYS_tgkill, getpid(), tid, scan_threads_signal());
	errno = kept;
}

/* ctx: signal */
static void on_signal(int signo, siginfo_t *info, void *context)
{
	(void)info;
	cuts_note((int)syscall(SYS_gettid), signo, context);
	/* relaxed: the signal that wakes the thread orders it. */
	atomic_store_explicit(&reporter.is_wanted, true, memory_order_relaxed);
	wake();
}

/* --- the thread --- */

static unsigned count_threads(void)
{
	struct stat st;

	/* A folder has a link of each folder within, and two. */
	return stat("/proc/self/task", &st) == 0 ? (unsigned)st.st_nlink - 2 : 0;
}

static unsigned count_own(void)
{
	return (unsigned)(state_of() == REPORTER_RUNS) + (unsigned)collector_is_there()
	       + (unsigned)helper_is_running();
}

unsigned reporter_count_threads(void)
{
	unsigned n = count_threads(), nown = count_own();

	return n > nown ? n - nown : 0;
}

/* The first thread stays as a zombie, which has no executable any more. No file is opened for that: a
 * program that closes all numbers, and uses them, would have its own closed once a second. */
bool reporter_is_last(void)
{
	char name[1];

	return reporter_count_threads() == 1 && readlink("/proc/self/exe", name, sizeof name) < 0
	       && errno == ENOENT;
}

static bool is_called(void)
{
	/* relaxed: the signal that wakes the thread orders them. */
	return atomic_load_explicit(&reporter.is_wanted, memory_order_relaxed)
	       || atomic_load_explicit(&reporter.is_leaving, memory_order_relaxed);
}

/* Until a client comes, somebody wakes it, or `ms` are over. The signal is blocked from the last look
 * to the wait, so that none goes lost; else it is open, for it also stops this thread. So is libc's for
 * setuid(), which waits for every thread. */
static void await(uint64_t ms)
{
	const uint64_t all = ~UINT64_C(0);
	const uint64_t open = all & ~(BIT(scan_threads_signal()) | BIT(SETXID));
	struct timespec left = { .tv_sec = (time_t)(ms / 1000),
		                 .tv_nsec = (long)(ms % 1000) * 1000000 };
	struct pollfd p = { .fd = control_fd(), .events = POLLIN };

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, KERNEL_BYTES);
	if (!is_called())
		syscall(SYS_ppoll, &p, p.fd >= 0 ? 1 : 0, &left, &open, KERNEL_BYTES);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &open, NULL, KERNEL_BYTES);
}

static bool has_period(void)
{
	return knobs.report_every_ms != KNOB_NEVER && knobs.report_every_ms > 0;
}

static uint64_t now_ms(void)
{
	return os_now_ns() / 1000000;
}

static void serve(void)
{
	uint64_t due = now_ms() + knobs.report_every_ms, now;

	if (reporter.is_child)                  /* which may just be about to exec */
		await(CHILD_MS);
	for (;;) {
		/* relaxed: see wake(). */
		if (atomic_load_explicit(&reporter.is_leaving, memory_order_relaxed) || reporter_is_last())
			return;
		if (atomic_exchange_explicit(&reporter.is_wanted, false, memory_order_relaxed))
			reports_write_now("signal");
		now = now_ms();
		if (has_period() && now >= due) {
			reports_write_now("period");
			due += knobs.report_every_ms;
			now = now_ms();
			if (due < now)          /* a report took longer than that */
				due = now;
		}
		control_open();
		await(has_period() && due - now < LOOK_MS ? due - now : LOOK_MS);
		control_serve();
	}
}

static void *run(void *arg)
{
	/* relaxed: see wake(). */
	atomic_store_explicit(&reporter.tid, (int)syscall(SYS_gettid), memory_order_relaxed);
	serve();
	atomic_store_explicit(&reporter.tid, 0, memory_order_relaxed);
	return arg;
}

static void create(bool waits)
{
	/* relaxed: as above, and in what follows: whoever changes the state is alone at it. */
	atomic_store_explicit(&reporter.is_leaving, false, memory_order_relaxed);
	atomic_store_explicit(&reporter.state, REPORTER_RUNS, memory_order_relaxed);
	if (!own_thread_create(&reporter.thread, run, waits)) {
		atomic_store_explicit(&reporter.state, REPORTER_NONE, memory_order_relaxed);
		report_line("no thread for reports: they come at the end only", NULL);
	}
}

/* --- start, stop, fork --- */

static bool is_asked_for(void)
{
	return knobs.report_signal || has_period() || knobs.control;
}

static const struct sigaction *own_action(void)
{
	static struct sigaction action;

	action.sa_sigaction = on_signal;
	action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
	sigfillset(&action.sa_mask);
	sigdelset(&action.sa_mask, scan_threads_signal());
	return &action;
}

static void catch_signal(void)
{
	if (!knobs.report_signal)
		return;
	if ((int)knobs.report_signal == scan_threads_signal()) {
		report_line("SPANGC_REPORT_SIGNAL: this signal stops threads here; no report on it", NULL);
		return;
	}
	__sigaction((int)knobs.report_signal, own_action(), &reporter.seen);
	exits_hide(&reporter.seen);
}

void reporter_start(void)
{
	if (!is_asked_for())
		return;
	at_quick_exit(reporter_finish);         /* at exit a destructor does it */
	catch_signal();
	create(true);
}

static bool is_plain(const struct sigaction *action)
{
	return !(action->sa_flags & SA_SIGINFO)
	       && (action->sa_handler == SIG_DFL || action->sa_handler == SIG_IGN);
}

static bool is_ours(int signo)
{
	return state_of() != REPORTER_NONE && signo == (int)knobs.report_signal
	       && signo != scan_threads_signal();
}

const struct sigaction *reporter_replace(int signo, const struct sigaction *new)
{
	if (!new || !is_ours(signo) || !is_plain(new))
		return new;
	return own_action();
}

void reporter_note(int signo, const struct sigaction *new, struct sigaction *old)
{
	if (!is_ours(signo))
		return;
	if (old && (old->sa_flags & SA_SIGINFO) && old->sa_sigaction == on_signal)
		*old = reporter.seen;
	if (new)
		reporter.seen = *new;
}

void (*reporter_was_set(int signo, void (*now)(int signo), void (*before)(int signo)))(int signo)
{
	struct sigaction seen = reporter.seen, new = { .sa_handler = now };

	if (!is_ours(signo))
		return before;
	reporter.seen = new;
	if (is_plain(&new))
		__sigaction(signo, own_action(), NULL);
	return (void *)before == (void *)on_signal ? seen.sa_handler : before;
}

bool reporter_stop(void)
{
	uint32_t runs = REPORTER_RUNS;

	/* relaxed: one thread gets on with it. */
	if (!atomic_compare_exchange_strong_explicit(&reporter.state, &runs, REPORTER_STOPPED,
	                                             memory_order_relaxed, memory_order_relaxed))
		return false;
	/* relaxed: see wake(). */
	atomic_store_explicit(&reporter.is_leaving, true, memory_order_relaxed);
	wake();
	pthread_join(reporter.thread, NULL);
	return true;
}

void reporter_resume(void)
{
	if (state_of() == REPORTER_STOPPED)
		create(false);
}

void reporter_finish(void)
{
	if (state_of() != REPORTER_NONE)
		control_remove();
}

void reporter_fork_prepare(void)
{
	if (state_of() == REPORTER_RUNS)
		reporter.was_alone = reporter_count_threads() <= 1;
}

void reporter_fork_child(void)
{
	if (state_of() == REPORTER_NONE)
		return;
	/* relaxed, all: the child has one thread. */
	atomic_store_explicit(&reporter.tid, 0, memory_order_relaxed);
	atomic_store_explicit(&reporter.is_wanted, false, memory_order_relaxed);
	atomic_store_explicit(&reporter.state, REPORTER_LATE, memory_order_relaxed);
	reporter.is_child = true;
	control_fork_child();
	if (reporter.was_alone)
		create(false);
}

void reporter_start_late(void)
{
	uint32_t late = REPORTER_LATE;

	/* relaxed: one thread gets on with it. */
	if (unlikely(state_of() == REPORTER_LATE)
	    && atomic_compare_exchange_strong_explicit(&reporter.state, &late, REPORTER_RUNS,
	                                               memory_order_relaxed, memory_order_relaxed))
		create(false);
}
