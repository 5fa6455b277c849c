/* dirty_mprotect.c: written pages by memory protection: the heap is closed (guard.h), a store to it is
 * SIGSEGV, whose handler opens 64 KiB, and what system calls are going to write is opened before
 * (dispatch.h), and free pages that a thread is about to fill. What was opened is dirty.
 *
 * Reached from dirty.c, and from the kernel (SIGSEGV). Arms while the world is stopped, in pieces, each in
 * a stop of its own; disarms while it runs, in pieces, and until that is through faults and calls are
 * handled as before. A fault of that time may reach the handler later; then the store is made again and
 * works.
 *
 * Costs, of 4 KiB pages: a stop for a piece 0.5 ms, 1 ms at most at 512 MiB (all of it in one call: 12 to 47 ms).
 */
#include "scan/dirty.h"

#include "core/heap.h"
#include "core/sigmask.h"
#include "scan/altstacks.h"
#include "scan/dispatch.h"
#include "scan/faults.h"
#include "scan/guard.h"
#include "scan/regs.h"
#include "scan/world.h"

#define NO_TSAN __attribute__((no_sanitize("thread")))

#define PIECE_BYTES MIB(16)                     /* 0.3 ms */
#define SPARE_STACKS 64                         /* for threads that start in a window */
#define STALE_MAX 64                            /* faults at one address that nothing explains */

static struct {
	struct dirty_counts counts;             /* the thread that runs the cycle */
	bool is_started;

	/* Any thread, atomic. */
	_Atomic uintptr_t stale;                /* where the last fault was that found all open */
	_Atomic uint32_t nstale;                /* how often in sequence */
	_Atomic uint64_t nfaults;
} tracker;

/* A store that came too late for the window, or found a granule that another thread has just opened, is
 * made again. One that fails again and again is the program's. */
NO_TSAN static bool is_to_be_tried(uintptr_t p)
{
	/* relaxed, all: a guess that must end. */
	if (atomic_exchange_explicit(&tracker.stale, p, memory_order_relaxed) != p)
		atomic_store_explicit(&tracker.nstale, 0, memory_order_relaxed);
	return atomic_fetch_add_explicit(&tracker.nstale, 1, memory_order_relaxed) < STALE_MAX;
}

/* A store hit a closed granule: it is opened, and the store proceeds. Or the kernel could not write to the
 * stack of a thread: it says so without an address.
 * ctx: signal, any thread, on several at once for the same granule */
NO_TSAN static bool is_ours(const siginfo_t *info, const void *context)
{
	uintptr_t p = (uintptr_t)info->si_addr, sp = regs_stack_pointer(context);

	if (info->si_code == SI_KERNEL && guard_covers(sp))
		p = sp;
	else if (info->si_code != SEGV_ACCERR || !regs_is_write(context) || !guard_covers(p))
		return false;
	if (guard_is_closed_at(p)) {
		/* relaxed: a counter. */
		atomic_fetch_add_explicit(&tracker.nfaults, 1, memory_order_relaxed);
		guard_open(p, p + 1);
		dispatch_open_stack(sp);
		return true;
	}
	return is_to_be_tried(p);
}

/* ctx: signal, SIGSEGV and SIGSYS open */
NO_TSAN static void on_fault(int signo, siginfo_t *info, void *context)
{
	if (!is_ours(info, context))
		faults_pass_on(signo, info, context);
}

static bool start(void)
{
	tracker.is_started = tracker.is_started || dispatch_start();
	return tracker.is_started;
}

/* What threads need at once, and what must not be asked of a handler, comes first. relaxed: what the heap
 * gets from here on is dirty. */
static bool arm(uintptr_t from, uintptr_t to)
{
	if (scan_stop_info().nmissed || !faults_own(SIGSEGV, on_fault))
		return false;
	altstacks_prepare(scan_stop_info().nthreads + SPARE_STACKS);
	if (!guard_close(from, to, heap.base + atomic_load_explicit(&heap.nbytes, memory_order_relaxed),
	                 dispatch_spare_stacks))
		return false;
	if (dispatch_begin())
		return true;
	guard_open_all();
	return false;
}

/* A call that is waiting with memory of this piece is made again, and reported, after this stop. */
static bool arm_more(uintptr_t to)
{
	return !scan_stop_info().nmissed && guard_close_more(to, dispatch_spare_stacks);
}

struct show {
	dirty_fn *fn;
	void *arg;
	uintptr_t from, to;
};

static void show(uintptr_t from, uintptr_t to, void *arg)
{
	const struct show *s = arg;

	from = from < s->from ? s->from : from;
	to = to > s->to ? s->to : to;
	if (from >= to)
		return;
	tracker.counts.npages += (to - from) / OS_PAGE_BYTES;
	s->fn(from, to, s->arg);
}

static bool collect(uintptr_t from, uintptr_t to, bool rearm, dirty_fn *fn, void *arg)
{
	struct show s = { fn, arg, from, to };

	guard_visit_open(show, &s);
	return !rearm || (!scan_stop_info().nmissed && guard_close_again(to, dispatch_spare_stacks));
}

/* As in a handler, no stop comes between opening and saying so (guard.c). */
static void expect(uintptr_t from, uintptr_t to)
{
	struct sigmask saved;

	if (!guard_is_closed())
		return;
	sigmask_block(&saved);
	guard_open(from, to);
	sigmask_restore(&saved);
}

static void disarm(void)
{
	guard_end();
	dispatch_end();
	altstacks_exclude();
}

static struct dirty_counts counts(void)
{
	struct dirty_counts c = tracker.counts;

	/* relaxed: a counter. */
	c.nfaults = atomic_load_explicit(&tracker.nfaults, memory_order_relaxed);
	c.ncalls = dispatch_ncalls();
	return c;
}

const struct dirty dirty_mprotect = {
	.name = "mprotect",
	.way = DIRTY_TRACKED,
	.arms_stopped = true,
	.stays_armed = true,
	.start = start,
	.arm = arm,
	.piece_bytes = PIECE_BYTES,
	.arm_more = arm_more,
	.may_arm_later = guard_has_uring,
	.collect = collect,
	.expect = expect,
	.disarm = disarm,
	.fork_child = dispatch_fork_child,
	.counts = counts,
};
