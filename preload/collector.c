/* collector.c: mode gc in a process: its start, the thread that runs cycles, and what happens where
 * there can be none.
 *
 * Reached from the constructor, from core when the budget is spent (hooks.budget_spent), from
 * spangc_collect(), and around fork. The thread blocks all signals but those that stop it: see
 * reporter.c, whose life is the same. It waits on a futex.
 *
 *     collector.state      meaning                                 left by
 *     COLLECTOR_NONE       not mode gc, or nothing can be          collector_start()
 *                          collected
 *     COLLECTOR_LATE       a fork child that has no thread yet     create(): it needs one, and may
 *     COLLECTOR_RUNS       it is there                             collector_stop(), run() if it is the
 *                                                                  last thread, collector_fork_child()
 *     COLLECTOR_STOPPED    a call that needs one thread is made    collector_resume()
 *     COLLECTOR_ALONE      there is none, and none will be:        collector_fork_child()
 *                          threads that allocate collect
 *
 * In a child of vfork(), which has our memory, and in other copies of the process nothing is
 * collected: it is known by its pid.
 *
 * A full cycle that somebody waits for has a number: the number of those that asked before it began.
 */
#include "preload/collector.h"

#include "preload/imports.h"
#include "preload/leaks.h"
#include "preload/own_thread.h"
#include "preload/preload.h"
#include "preload/report_room.h"
#include "preload/reporter.h"

#include "core/hooks.h"
#include "core/knobs.h"
#include "core/os.h"
#include "core/report.h"
#include "core/scavenge.h"
#include "core/sigmask.h"
#include "scan/cycle.h"
#include "scan/dirty.h"
#include "scan/dispatch.h"
#include "scan/modules.h"
#include "scan/pacing.h"
#include "scan/regs.h"
#include "scan/threads.h"
#include "scan/workers.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOOK_MS 1000                            /* is there another thread? */
#define AWAIT_MS 1                              /* for another thread's cycle, until the next look; ... */
#define AWAIT_MAX_MS 8                          /* ... twice as long each time, up to this */
#define ASSIST_BYTES KIB(256)                   /* a stop waits for it, 0.3 ms */
#define KERNEL_BYTES 8                          /* of a sigset_t */
#define BIT(signal) (UINT64_C(1) << ((signal) - 1))
#define SETXID (__SIGRTMIN + 1)                 /* as in core/sigmask.c */

enum collector_state { COLLECTOR_NONE, COLLECTOR_LATE, COLLECTOR_RUNS, COLLECTOR_STOPPED, COLLECTOR_ALONE };

static struct {
	/* Whoever starts and stops it: one at a time. */
	pthread_t thread;
	pid_t pid;                              /* changes in a child of fork */

	/* Before fork, for its child. */
	bool was_alone;                         /* the program had one thread */

	/* Who runs cycles. */
	uint64_t due_ms;                        /* by SPANGC_GC_PERIOD */

	/* The thread. */
	uint64_t stood_in_ms;

	/* Any thread, atomic. */
	_Atomic uint32_t state;                 /* enum collector_state */
	_Atomic uint32_t news;                  /* a futex: changes when it should look */
	_Atomic uint32_t nended;                /* a futex: cycles that ended here */
	_Atomic bool is_wanted;                 /* a cycle is, of the kind that pays */
	_Atomic bool is_leaving;
	_Atomic bool is_busy;                   /* the stack of serve_apart() */
	_Atomic bool is_redirecting;            /* the thread: it may wait for the loader */
	_Atomic uint64_t nasked, nanswered;     /* full cycles that somebody waits for */
} collector;

static enum collector_state state_of(void)
{
	/* relaxed: nothing is read that goes with it. */
	return atomic_load_explicit(&collector.state, memory_order_relaxed);
}

static bool change(enum collector_state from, enum collector_state to)
{
	uint32_t expected = from;

	/* relaxed: one thread gets on with it. */
	return atomic_compare_exchange_strong_explicit(&collector.state, &expected, to,
	                                               memory_order_relaxed, memory_order_relaxed);
}

bool collector_is_there(void)
{
	return state_of() == COLLECTOR_RUNS;
}

/* Asked at each spent budget: by a call that is not reported to the library itself (dispatch.h). */
static bool is_copy(void)
{
	return regs_syscall(SYS_getpid, 0, 0, 0, 0) != collector.pid;
}

/* --- cycles --- */

static bool has_period(void)
{
	return knobs.gc_period_ms != KNOB_NEVER && knobs.gc_period_ms > 0;
}

static bool is_due(void)
{
	return has_period() && os_now_ms() >= collector.due_ms;
}

/* One cycle, if nobody else is at one. ctx: any, no lock held; the thread, or signals are blocked */
static void collect(enum cycle_kind kind, bool is_forced)
{
	/* acquire: who asked before. Those who ask from here on want another one. */
	uint64_t nasked = atomic_load_explicit(&collector.nasked, memory_order_acquire);
	uint64_t number = cycle_last().number;

	/* Who asks for a full one has his reasons: what is written after it is not tracked for the sake of a
	 * minor one. */
	cycle_run(kind, pacing_begin() && !(is_forced && kind == CYCLE_FULL));
	if (cycle_last().number == number)
		return;                         /* somebody else was at it */
	pacing_end(is_forced, info_stderr());
	collector.due_ms = os_now_ms() + knobs.gc_period_ms;
	if (kind == CYCLE_FULL)
		/* release: with the cycle's figures. */
		atomic_store_explicit(&collector.nanswered, nasked, memory_order_release);
	own_thread_wake(&collector.nended);
}

static bool is_asked(void)
{
	/* relaxed, both: looked at again at every turn. */
	return atomic_load_explicit(&collector.nasked, memory_order_relaxed)
	       != atomic_load_explicit(&collector.nanswered, memory_order_relaxed);
}

/* What there is to do. False: nothing. */
static bool serve(void)
{
	/* relaxed: the futex's word orders it. */
	bool is_wanted = atomic_exchange_explicit(&collector.is_wanted, false, memory_order_relaxed);

	if (is_asked())
		collect(CYCLE_FULL, true);
	else if (is_due())
		collect(pacing_kind_by_clock(), true);
	else if (is_wanted && pacing_is_due())
		collect(pacing_kind(), false);
	else
		return false;
	return true;
}

static bool has_news(void)
{
	/* relaxed: the futex's word orders it. */
	return is_asked() || is_due() || atomic_load_explicit(&collector.is_wanted, memory_order_relaxed);
}

static void serve_here(void *has_served)
{
	*(bool *)has_served = serve();
}

/* On a stack of our own: what a cycle has in hand, addresses of the heap among it, is no root. */
static bool serve_apart(void)
{
	bool has_served = false;

	/* acquire, release: what the one before did. */
	if (!has_news() || atomic_exchange_explicit(&collector.is_busy, true, memory_order_acquire))
		return false;
	report_room_run(serve_here, &has_served);
	atomic_store_explicit(&collector.is_busy, false, memory_order_release);
	return has_served;
}

/* By the thread that allocates, or asks. No handler of the program's may leave a cycle by longjmp(). */
static void collect_here(void)
{
	struct sigmask saved;

	sigmask_block(&saved);
	serve_apart();
	sigmask_restore(&saved);
}

/* --- the thread --- */

static uint64_t longest_wait(void)
{
	uint64_t now = os_now_ms();

	if (!has_period() || collector.due_ms - now > LOOK_MS)
		return LOOK_MS;
	return collector.due_ms > now ? collector.due_ms - now : 0;
}

/* Modules that were loaded since. */
static void redirect(void)
{
	/* relaxed, both: who waits looks again. */
	atomic_store_explicit(&collector.is_redirecting, true, memory_order_relaxed);
	imports_redirect();
	atomic_store_explicit(&collector.is_redirecting, false, memory_order_relaxed);
}

/* What a sweep freed goes back also where the program does nothing more that would start the helper. */
static void stand_in(void)
{
	uint64_t now = os_now_ms();

	if (now - collector.stood_in_ms < LOOK_MS)
		return;
	collector.stood_in_ms = now;
	scavenge_stand_in();
}

static void *run(void *arg)
{
	const uint64_t open = ~(BIT(scan_threads_signal()) | BIT(SETXID));

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &open, NULL, KERNEL_BYTES);
	dispatch_spare_thread();
	/* relaxed: looked at again after each wait. */
	while (!atomic_load_explicit(&collector.is_leaving, memory_order_relaxed)) {
		/* acquire: pairs with the release in own_thread_wake(). */
		uint32_t news = atomic_load_explicit(&collector.news, memory_order_acquire);

		if (serve_apart()) {
			redirect();
			continue;
		}
		if (reporter_is_last()) {
			change(COLLECTOR_RUNS, COLLECTOR_ALONE);
			break;
		}
		own_thread_wait(&collector.news, news, longest_wait());
		stand_in();
	}
	return arg;
}

static void create(bool waits)
{
	/* relaxed: as above, and in what follows: whoever changes the state is alone at it. */
	atomic_store_explicit(&collector.is_leaving, false, memory_order_relaxed);
	atomic_store_explicit(&collector.state, COLLECTOR_RUNS, memory_order_relaxed);
	if (!own_thread_create(&collector.thread, run, waits))
		atomic_store_explicit(&collector.state, COLLECTOR_ALONE, memory_order_relaxed);
}

static void start_thread(enum collector_state from)
{
	/* STOPPED: nobody else creates it meanwhile. */
	if (change(from, COLLECTOR_STOPPED))
		create(false);
}

/* --- who wants a cycle --- */

/* From within malloc or free: with what libc and the loader may be at. */
static void on_budget_spent(const void *caller)
{
	if (is_copy() || !pacing_spent())
		return;
	/* relaxed: the futex's word orders it. */
	atomic_store_explicit(&collector.is_wanted, true, memory_order_relaxed);
	switch (state_of()) {
	case COLLECTOR_LATE:
		if (collector.was_alone && threads_may_create(caller))
			start_thread(COLLECTOR_LATE);
		else if (!collector.was_alone)
			collect_here();
		break;
	case COLLECTOR_RUNS:
		own_thread_wake(&collector.news);
		break;
	case COLLECTOR_STOPPED:
	case COLLECTOR_ALONE:
		collect_here();
		break;
	case COLLECTOR_NONE:
		break;
	}
}

static bool is_answered(uint64_t number)
{
	/* acquire: pairs with the release in collect(). */
	return atomic_load_explicit(&collector.nanswered, memory_order_acquire) >= number;
}

/* Else it may be held up by a lock of the loader's, which who waits for it has: in a callback of
 * dl_iterate_phdr(). */
static bool is_thread_free(void)
{
	/* relaxed: looked at again. */
	return state_of() == COLLECTOR_RUNS
	       && !atomic_load_explicit(&collector.is_redirecting, memory_order_relaxed);
}

/* Who waits helps where a processor is idle: with one that is not, a thread of the program waited for it
 * for whole time slices. Where none is, looking takes its time from one that is busy: 15 us, 1 % of it each
 * millisecond. */
static void await_cycle(uint64_t number)
{
	uint64_t ms = AWAIT_MS;

	while (!is_answered(number)) {
		/* acquire: pairs with the release in own_thread_wake(). */
		uint32_t nended = atomic_load_explicit(&collector.nended, memory_order_acquire);

		if (is_thread_free()) {
			if (cycle_phase() == CYCLE_OFF) {
				own_thread_wake(&collector.news);
			} else if (workers_can_be_spared()) {
				if (cycle_assist(ASSIST_BYTES))
					continue;
				ms = AWAIT_MS;
			}
		} else {
			collect_here();
		}
		if (!is_answered(number))
			own_thread_wait(&collector.nended, nended, ms);
		ms = ms < AWAIT_MAX_MS ? 2 * ms : ms;
	}
}

EXPORT size_t spangc_collect(void)
{
	if (state_of() == COLLECTOR_NONE || is_copy())
		return 0;

	/* release: what the caller has let go of. */
	uint64_t number = atomic_fetch_add_explicit(&collector.nasked, 1, memory_order_release) + 1;

	await_cycle(number);
	return cycle_last().reclaimed_bytes;
}

/* --- start, stop, fork --- */

void collector_start(void)
{
	leaks_ignored++;                        /* as in leaks_start_looking() */
	if (heap_has_records()) {
		leaks_start_unwinding();
		modules_start();
	}
	execs_start();
	protects_start();
	if (!looking_start() || !cycle_start()) {
		report_line("nothing is collected: threads can't be stopped, or /proc is not there", NULL);
		heap.ignores_free = false;
	} else {
		collector.pid = getpid();
		collector.due_ms = os_now_ms() + knobs.gc_period_ms;
		report_room_start();
		pacing_start();
		hooks.will_write = dirty_expect;
		hooks.budget_spent = on_budget_spent;
		reporter_start();
		create(true);
	}
	leaks_ignored--;
}

bool collector_stop(void)
{
	if (!change(COLLECTOR_RUNS, COLLECTOR_STOPPED))
		return false;
	/* relaxed: the futex's word orders it. */
	atomic_store_explicit(&collector.is_leaving, true, memory_order_relaxed);
	own_thread_wake(&collector.news);
	pthread_join(collector.thread, NULL);
	return true;
}

void collector_resume(void)
{
	if (state_of() == COLLECTOR_STOPPED)
		create(false);
}

void collector_fork_prepare(void)
{
	if (state_of() == COLLECTOR_RUNS)
		collector.was_alone = reporter_count_threads() <= 1;
}

void collector_fork_child(void)
{
	if (state_of() == COLLECTOR_NONE)
		return;
	collector.pid = getpid();
	cycle_fork_child();
	pacing_fork_child();
	/* relaxed, all: the child has one thread. */
	atomic_store_explicit(&collector.is_wanted, false, memory_order_relaxed);
	atomic_store_explicit(&collector.is_busy, false, memory_order_relaxed);
	atomic_store_explicit(&collector.is_redirecting, false, memory_order_relaxed);
	atomic_store_explicit(&collector.nanswered,
	                      atomic_load_explicit(&collector.nasked, memory_order_relaxed),
	                      memory_order_relaxed);
	atomic_store_explicit(&collector.state, COLLECTOR_LATE, memory_order_relaxed);
}

void collector_start_late(void)
{
	if (unlikely(state_of() == COLLECTOR_LATE))
		start_thread(COLLECTOR_LATE);
}
