/* cycle.c: one collection from its beginning to the end of its sweep.
 *
 * Reached from preload/collector.c: a thread runs a cycle, threads that allocate help; and in a fork
 * child. The parts are elsewhere: dirty.h (which pages were written), mark.h, roots.h, threads.h (the
 * stops), core/marks.h and core/sweep.h. LOCK_GC is the running thread's for the whole cycle, and is
 * never waited for here.
 *
 *     phase        the running thread                      the program's threads
 *     CYCLE_OFF    nothing; or 1, 2, 3                     run. Blocks are born white, from 2 on black
 *     CYCLE_MARK   4, 5                                    run, help to mark. Blocks are born black
 *     CYCLE_STOP   6                                       stand, or wait for the stop with a piece of
 *                                                          marking that they finish
 *     CYCLE_SWEEP  7                                       run, help to sweep. Blocks are born black
 *
 *     1  Pages are armed: from here on written ones are dirty. Then marks are cleared. In this order:
 *        a thread may make a block black with what it read of marks.is_black a cycle ago. Before the
 *        clearing that is undone; after it the block's contents are written to armed pages.
 *     2  marks.is_black: blocks are born black, their contents are on dirty pages.
 *     3  The first stop: what threads' registers and stacks lead to is work. It is a barrier, too: a
 *        block born white is within the heap's end as read here (mark_extend()), since who read
 *        is_black before 2 had its slot before.
 *     4  All other roots, by copies, and what they lead to.
 *     5  Rounds of precleaning: dirty pages are armed again, then read. A block whose bit is set after
 *        that is read later than it, or is born and its contents are written later, on armed pages.
 *     6  The final stop: all roots again, dirty pages' marked blocks, the rest. What the program can
 *        reach now is marked: it was reached by words that were read after their last change. A
 *        slot on its way out of malloc is in its thread's registers or stack and is marked there.
 *        What is on its way into free() is not allocated.
 *     7  What is allocated and not marked is reclaimed. No thread can reach it, and the blocks that
 *        are born meanwhile have their mark before they look allocated.
 *     Without dirty pages ("stw") 1, 2 and 6 in one stop, and no others. By a copy of the process
 *     ("snapshot"): 2; a stop, in which the copy is made; the copy does 6 with what was there at that
 *     moment, and what was garbage then stays garbage; then 7. Where arming wants stops ("mprotect") 1
 *     has some, one after the other, and there is no 5. A minor cycle leaves 1 out: the marks are those of
 *     the cycle before, whose final stop armed the dirty pages again, and 5 (where there is none, 3)
 *     begins with all that was written since.
 *
 *     in any phase
 *     fork               the child begins with CYCLE_OFF and no marks: its first cycle is full
 *     a thread is born   what it was given is a root until it has it (threads.h); 6 stops it
 *     a thread ends      a thread that helps has signals blocked, and does not end. What it left
 *                        elsewhere is read in 6, and its stack is none any more
 *     dlopen, mmap       6 reads /proc/self/maps again
 *     dlclose, munmap    4 reads copies, and skips what is not there
 *     the heap grows     behind what was armed every page is dirty, blocks are black (3)
 *     pages are released, taken again    nothing marked is on them; what is born there is black
 *     mremap of the heap's pages         there is none in this mode
 *     a thread does not stop, maps can't be read, io_uring is in use     nothing is reclaimed
 *     dirty pages can't be told any more                6 clears the marks and marks everything
 *
 * Checked by SPANGC_VERIFY=1 (no block may be reached in 6 that has no mark), tests/race/cycles.c,
 * tests/race/cycle.c (without the dirty pages blocks are lost) and tests/torture.
 */
#include "scan/cycle.h"

#include "core/budget.h"
#include "core/heap.h"
#include "core/knobs.h"
#include "core/lock.h"
#include "core/marks.h"
#include "core/os.h"
#include "core/report.h"
#include "core/sigmask.h"
#include "core/sweep.h"
#include "scan/cycle_snapshot.h"
#include "scan/dirty.h"
#include "scan/maps.h"
#include "scan/mark.h"
#include "scan/pauses.h"
#include "scan/roots.h"
#include "scan/threads.h"
#include "scan/workers.h"

#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 3                            /* of precleaning */
#define PAGES_FEW 256                           /* os pages: 0.5 ms in a stop; nor if it hardly helps */
#define PIECE_BYTES MIB(1)                      /* of a sweep */
#define VERIFY_LINES 10
#define BETWEEN_NS 1000000                      /* stops: threads wake up, and get on */
#define NAP_NS 50000                            /* for another thread's piece */
#define FAILURES_TOLD 3                         /* cycles in a row that fail, and it is said */

static struct {
	struct lock lock;

	/* The lock. */
	struct cycle_last now;
	bool has_marks;                         /* the last cycle's, and what was written since is dirty */
	bool is_lost;                           /* what was written, in this cycle */
	bool has_said;                          /* why nothing is reclaimed */
	unsigned nfailed;                       /* cycles in a row that reclaimed nothing */
	uint64_t npages;                        /* dirty ones, in this round */

	/* Any thread, atomic. */
	_Atomic uint32_t phase;                 /* enum cycle_phase */
	_Atomic uint32_t nhelping;              /* threads in cycle_assist() */
	_Atomic uint64_t assist_ns, assist_bytes;       /* in this cycle */
	_Atomic uint64_t reclaimed_bytes;       /* ever */
	_Atomic bool is_on;

	/* The last ones; that of last[nlast % 2] is whole. */
	struct cycle_last last[2];
	_Atomic uint64_t nlast;
} cycle = { .lock = LOCK_INIT(LOCK_GC) };

const char cycle_has_uring[] = "io_uring is in use";

static const unsigned aligns[] = {
	[KNOB_SCAN_ALIGN_8] = 8, [KNOB_SCAN_ALIGN_4] = 4, [KNOB_SCAN_ALIGN_1] = 1,
};

enum cycle_phase cycle_phase(void)
{
	/* seq_cst: with nhelping, see cycle_assist(). */
	return atomic_load_explicit(&cycle.phase, memory_order_seq_cst);
}

static void set_phase(enum cycle_phase phase)
{
	/* seq_cst: with nhelping, see await_helpers(). */
	atomic_store_explicit(&cycle.phase, phase, memory_order_seq_cst);
}

static void set_black(bool is_black)
{
	/* relaxed: a thread that reads it late was stopped in between, or its block is found (3, 6). */
	atomic_store_explicit(&marks.is_black, is_black, memory_order_relaxed);
}

uint64_t cycle_used_bytes(void)
{
	/* relaxed: a figure. Slots put back are counted after slots taken: at worst too many are used. */
	uint64_t gone = atomic_load_explicit(&cycle.reclaimed_bytes, memory_order_relaxed) + budget_put();
	uint64_t taken = budget_taken();

	return taken > gone ? taken - gone : 0;
}

static uintptr_t heap_end(void)
{
	/* acquire: pairs with the release of who made it grow. */
	return heap.base + atomic_load_explicit(&heap.nbytes, memory_order_acquire);
}

/* --- stops --- */

struct stop {
	uint64_t began_ns;
};

static bool begin_stop(struct stop *s)
{
	s->began_ns = os_now_ns();
	return scan_stop();
}

static uint64_t end_stop(const struct stop *s)
{
	uint64_t ns;

	scan_resume();
	ns = os_now_ns() - s->began_ns;
	pauses_note(ns);
	return ns;
}

/* --- reading --- */

static void see_thread(uintptr_t from, uintptr_t to, const char *what, void *arg)
{
	(void)what;
	(void)arg;
	mark_threads_range(from, to);
}

static void see_root(uintptr_t from, uintptr_t to, const char *what, void *arg)
{
	(void)what;
	(void)arg;
	cycle.now.root_bytes += to - from;
	mark_range(from, to);
}

static void see_dirty(uintptr_t from, uintptr_t to, void *arg)
{
	(void)arg;
	cycle.npages += (to - from) / OS_PAGE_BYTES;
	mark_dirty(from, to);
}

/* Marks are made for all that is collected. False: writes may be missing. */
static bool read_dirty(const struct dirty *d, bool rearm)
{
	uintptr_t to = heap_end();

	mark_extend();
	cycle.npages = 0;
	cycle.is_lost = !dirty_collect(d, heap.base, to, rearm, see_dirty, NULL);
	cycle.now.dirty_pages += cycle.npages;
	return !cycle.is_lost;
}

static void note_unmarked(uintptr_t block, void *number)
{
	struct text t = { 0 };

	if (++*(unsigned *)number > VERIFY_LINES)
		return;
	text_str(&t, "spangc: a cycle would reclaim what is still in use: ");
	text_hex(&t, block);
	text_newline(&t);
	text_flush(&t, STDERR_FILENO);
}

/* Not after a minor cycle: an old block that nobody wrote to since may hold the address of one that was
 * freed since, where there is a new one by now. ctx: stw */
static void verify(void)
{
	unsigned n = 0;

	if (!mark_verify_begin())
		return;
	roots_visit_threads(see_thread, NULL);
	roots_visit_rest(false, see_root, NULL);
	mark_drain();
	mark_verify_end(note_unmarked, &n);
	check(!n);
}

/* --- the steps --- */

static const char *start_marking(enum cycle_kind kind, enum workers_use use)
{
	mark_set_align(aligns[knobs.scan_align]);
	mark_set_workers(workers_wanted(use));
	if (kind == CYCLE_MINOR ? mark_start_sticky() : mark_start_full())
		return NULL;
	return "no memory for marks";
}

/* Marks are there, the world stands: everything alive is marked (6). With `d`, what it tracked is what
 * was not read before. ctx: stw */
static const char *finish_marking(const struct dirty *d, bool rearm)
{
	struct scan_stop_info info = scan_stop_info();

	cycle.now.nthreads = info.nthreads + 1;
	cycle.now.nmissed = info.nmissed;
	cycle.now.root_bytes = 0;
	if (info.nmissed)
		return "a thread did not stop";
	mark_stopped();
	roots_visit_threads(see_thread, NULL);
	if (!roots_visit_rest(false, see_root, NULL))
		return "/proc/self/maps can't be read";
	if (roots_has_uring())
		return cycle_has_uring;
	if (d && !read_dirty(d, rearm))
		return "writes were not seen";
	cycle.now.final_pages = d ? cycle.npages : 0;
	mark_drain();
	if (knobs.verify && cycle.now.kind == CYCLE_FULL)
		verify();
	return NULL;
}

/* From nothing. ctx: stw */
static const char *mark_everything(void)
{
	const char *why = start_marking(CYCLE_FULL, WORKERS_ALONE);

	cycle.now.kind = CYCLE_FULL;
	if (why)
		return why;
	set_black(true);
	return finish_marking(NULL, false);
}

static void note_marked(void)
{
	struct mark_counts counts = mark_counts();

	cycle.now.live_blocks = counts.nblocks;
	cycle.now.live_bytes = counts.nslot_bytes;
	cycle.now.read_bytes = counts.nbytes;
	cycle.now.heap_marked = cycle_used_bytes();
}

/* The end of marking, well or not; who helps is waited for by the stop, or here. ctx: stw; any */
static void leave_marking(bool is_swept)
{
	if (is_swept)
		sweep_begin(heap_end() - heap.base);
	set_phase(is_swept ? CYCLE_SWEEP : CYCLE_OFF);
}

static void nap_for(long ns)
{
	const struct timespec moment = { .tv_nsec = ns };

	syscall(SYS_nanosleep, &moment, NULL);
}

static void nap(void)
{
	nap_for(NAP_NS);
}

/* A thread that helps to mark has left when the marks' memory goes. */
static void end_marking(void)
{
	/* seq_cst: see cycle_assist(). */
	while (cycle_phase() == CYCLE_OFF
	       && atomic_load_explicit(&cycle.nhelping, memory_order_seq_cst))
		nap();
	mark_end();
}

static const char *collect_stopped(void)
{
	struct stop s;

	if (!begin_stop(&s))
		return "threads can't be stopped";
	set_phase(CYCLE_STOP);

	const char *why = scan_stop_info().nmissed ? "a thread did not stop" : mark_everything();

	note_marked();
	leave_marking(!why);
	cycle.now.final_stop_ns = end_stop(&s);
	end_marking();
	return why;
}

static void disarm(const struct dirty *d)
{
	if (d->disarm)
		d->disarm();
}

/* In a stop that everybody must have obeyed: else it is left. */
static bool arm_stopped(const struct dirty *d, uintptr_t from, uintptr_t to, bool *has_failed)
{
	struct stop s;
	uint64_t ns;

	if (!begin_stop(&s))
		return false;

	bool is_stopped = !scan_stop_info().nmissed;

	*has_failed = is_stopped && !(from == heap.base ? d->arm(from, to) : d->arm_more(to));
	ns = end_stop(&s);
	if (ns > cycle.now.arm_stop_ns)
		cycle.now.arm_stop_ns = ns;
	return is_stopped && !*has_failed;
}

/* The heap as it is, which a stop would take too long for: the program runs in between. */
static bool arm_in_pieces(const struct dirty *d, bool *has_failed)
{
	uintptr_t end = heap_end(), from = heap.base;

	while (from < end) {
		uintptr_t to = d->piece_bytes && end - from > d->piece_bytes ? from + d->piece_bytes : end;

		if (from != heap.base)
			nap_for(BETWEEN_NS);
		if (!arm_stopped(d, from, to, has_failed))
			return false;
		from = to;
	}
	return true;
}

/* Dirty pages. */
static bool arm(const struct dirty *d)
{
	bool has_failed = false, is_armed;

	if (d->arms_stopped) {
		disarm(d);                      /* of the cycle before, if it kept them: not in a stop */
		is_armed = arm_in_pieces(d, &has_failed);
	} else {
		is_armed = d->arm(heap.base, heap_end());
		has_failed = !is_armed;
	}
	if (!is_armed)
		disarm(d);
	if (has_failed)
		dirty_failed(d);
	return is_armed;
}

/* Where pages are armed in a stop only, a minor cycle does here what precleaning does: what is dirty
 * becomes work. */
static bool stop_first(const struct dirty *d)
{
	struct stop s;

	if (!begin_stop(&s))
		return false;
	mark_extend();
	if (cycle.now.kind == CYCLE_MINOR && d->arms_stopped)
		read_dirty(d, true);
	roots_visit_threads(see_thread, NULL);
	cycle.now.first_stop_ns = end_stop(&s);
	return true;
}

static void preclean(const struct dirty *d)
{
	uint64_t before = UINT64_MAX;

	while (cycle.now.nrounds < ROUNDS_MAX && read_dirty(d, true)) {
		cycle.now.nrounds++;
		mark_drain();
		if (cycle.npages < PAGES_FEW || cycle.npages >= before / 4 * 3)
			break;
		before = cycle.npages;
	}
}

static void mark_beside(const struct dirty *d)
{
	uint64_t began_ns = os_now_ns();

	set_phase(CYCLE_MARK);
	roots_visit_rest(true, see_root, NULL);
	mark_drain();
	if (!d->arms_stopped)
		preclean(d);
	cycle.now.mark_ns = os_now_ns() - began_ns;
}

static const char *stop_finally(const struct dirty *d, bool rearm)
{
	unsigned nworkers = workers_wanted(WORKERS_ALONE);
	struct stop s;
	const char *why = NULL;

	mark_set_workers(nworkers);
	mark_call_helpers(nworkers);            /* who sleep until then */
	if (!begin_stop(&s)) {
		leave_marking(false);
		return "threads can't be stopped";
	}
	set_phase(CYCLE_STOP);
	if (!cycle.is_lost)
		why = finish_marking(d, rearm);
	if (cycle.is_lost) {
		mark_end();
		why = scan_stop_info().nmissed ? "a thread did not stop" : mark_everything();
	}
	note_marked();
	leave_marking(!why);
	cycle.now.final_stop_ns = end_stop(&s);
	return why;
}

static const char *collect_tracked(const struct dirty *d, enum cycle_kind kind, bool keeps_marks)
{
	bool rearm = keeps_marks && d->stays_armed;
	const char *why;

	if (kind == CYCLE_FULL && !arm(d)) {
		cycle.now.dirty = "stw";
		return collect_stopped();
	}
	why = start_marking(kind, WORKERS_BESIDE);
	if (!why) {
		set_black(true);
		why = stop_first(d) ? NULL : "threads can't be stopped";
	}
	if (!why) {
		mark_beside(d);
		why = stop_finally(d, rearm);
	}
	end_marking();
	if (why || cycle.is_lost || !rearm)
		disarm(d);
	else
		cycle.has_marks = true;
	if (cycle.is_lost)
		dirty_failed(d);
	return why;
}

/* A copy of the process marks what it had at one moment; blocks born since are black (3, 6). */
static const char *collect_copied(void)
{
	struct cycle_snapshot s;
	uint64_t began_ns = os_now_ns();

	mark_set_align(aligns[knobs.scan_align]);
	mark_set_workers(workers_wanted(WORKERS_BESIDE));
	marks_clear(heap_end() - heap.base);
	set_black(true);

	const char *why = cycle_snapshot_mark(&s, aligns[knobs.scan_align]);

	if (why == cycle_has_uring)
		return why;
	if (why) {
		if (s.is_refused)
			dirty_failed(&dirty_snapshot);
		cycle.now.dirty = "stw";
		return collect_stopped();
	}
	cycle.now.mark_ns = os_now_ns() - began_ns - s.pause.all_ns;
	cycle.now.first_stop_ns = s.pause.all_ns;
	cycle.now.nthreads = s.nthreads;
	cycle.now.live_blocks = s.counts.nblocks;
	cycle.now.live_bytes = s.counts.nslot_bytes;
	cycle.now.read_bytes = s.counts.nbytes;
	cycle.now.root_bytes = s.root_bytes;
	cycle.now.cpu_us = s.cpu_us;
	cycle.now.heap_marked = cycle_used_bytes();
	sweep_begin(s.heap_bytes);
	set_phase(CYCLE_SWEEP);
	return NULL;
}

static const char *mark(enum cycle_kind kind, bool keeps_marks)
{
	const struct dirty *d = dirty_choose();

	cycle.now.dirty = d->name;
	cycle.now.kind = kind == CYCLE_MINOR && cycle.has_marks ? CYCLE_MINOR : CYCLE_FULL;
	cycle.has_marks = false;
	cycle.is_lost = false;
	if (d->way == DIRTY_TRACKED)
		return collect_tracked(d, cycle.now.kind, keeps_marks);
	return d->way == DIRTY_SNAPSHOT ? collect_copied() : collect_stopped();
}

static void sweep(void)
{
	uint64_t began_ns = os_now_ns();

	while (sweep_some(PIECE_BYTES))
		;
	while (!sweep_is_done())
		nap();
	sweep_finish();
	cycle.now.sweep_ns = os_now_ns() - began_ns;

	struct sweep_counts counts = sweep_counts();

	cycle.now.reclaimed_bytes = counts.nbytes;
	cycle.now.reclaimed_blocks = counts.nblocks;
	/* relaxed: a figure. */
	atomic_fetch_add_explicit(&cycle.reclaimed_bytes, counts.nbytes, memory_order_relaxed);
}

static void publish(void)
{
	/* relaxed: LOCK_GC. release: the record is whole. */
	uint64_t n = atomic_load_explicit(&cycle.nlast, memory_order_relaxed) + 1;

	cycle.now.number = n;
	cycle.last[n % 2] = cycle.now;
	atomic_store_explicit(&cycle.nlast, n, memory_order_release);
}

/* Once, and only what is more than a bad moment. */
static void tell_failure(const char *why)
{
	cycle.nfailed = why ? cycle.nfailed + 1 : 0;
	if (cycle.has_said || (why != cycle_has_uring && cycle.nfailed < FAILURES_TOLD))
		return;
	cycle.has_said = true;
	if (why == cycle_has_uring)
		report_line("io_uring is in use: nothing is reclaimed while it is", NULL);
	else
		report_line("nothing is reclaimed: ", why, NULL);
}

bool cycle_run(enum cycle_kind kind, bool keeps_marks)
{
	uint64_t cpu_us = os_thread_cpu_us();

	/* relaxed: set before there are threads. */
	if (!atomic_load_explicit(&cycle.is_on, memory_order_relaxed) || !lock_try(&cycle.lock))
		return false;
	memset(&cycle.now, 0, sizeof cycle.now);
	cycle.now.began_ns = os_now_ns();
	cycle.now.heap_before = cycle_used_bytes();
	atomic_store_explicit(&cycle.assist_ns, 0, memory_order_relaxed);
	atomic_store_explicit(&cycle.assist_bytes, 0, memory_order_relaxed);

	const char *why = mark(kind, keeps_marks);

	if (!why)
		sweep();
	set_black(false);
	set_phase(CYCLE_OFF);
	tell_failure(why);
	cycle.now.failure = why;
	cycle.now.ended_ns = os_now_ns();
	cycle.now.cpu_us += os_thread_cpu_us() - cpu_us;
	cycle.now.assist_ns = atomic_load_explicit(&cycle.assist_ns, memory_order_relaxed);
	cycle.now.assist_bytes = atomic_load_explicit(&cycle.assist_bytes, memory_order_relaxed);
	publish();
	lock_drop(&cycle.lock);
	return !why;
}

struct cycle_last cycle_last(void)
{
	for (;;) {
		/* acquire: pairs with the release in publish(); before the copy, and after it. */
		uint64_t n = atomic_load_explicit(&cycle.nlast, memory_order_acquire);
		struct cycle_last copy = cycle.last[n % 2];

		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&cycle.nlast, memory_order_relaxed) - n < 1)
			return copy;
	}
}

bool cycle_can_be_minor(void)
{
	return cycle.has_marks;
}

/* Signals are blocked, so that no stop comes while a thread has work in hand; and it is counted, for
 * where there is no stop. */
uint64_t cycle_assist(size_t nbytes)
{
	uint64_t cpu_us = os_thread_cpu_us(), n = 0;
	struct sigmask saved;

	if (cycle_phase() == CYCLE_OFF)
		return 0;
	sigmask_block(&saved);
	/* seq_cst, and in cycle_phase(): either the phase is seen to have changed, or who changed it sees
	 * this thread (end_marking()). */
	atomic_fetch_add_explicit(&cycle.nhelping, 1, memory_order_seq_cst);
	switch (cycle_phase()) {
	case CYCLE_MARK:
		n = mark_assist(nbytes);
		/* relaxed: a figure. */
		atomic_fetch_add_explicit(&cycle.assist_bytes, n, memory_order_relaxed);
		break;
	case CYCLE_SWEEP:
		n = sweep_some(nbytes) ? nbytes : 0;
		break;
	default:
		break;
	}
	/* release: what was marked. */
	atomic_fetch_sub_explicit(&cycle.nhelping, 1, memory_order_release);
	sigmask_restore(&saved);
	/* relaxed: a figure. */
	atomic_fetch_add_explicit(&cycle.assist_ns, (os_thread_cpu_us() - cpu_us) * 1000,
	                          memory_order_relaxed);
	return n;
}

bool cycle_start(void)
{
	uintptr_t here = 0;

	/* Also what a cycle needs first: that it can be stopped, and that maps can be read. */
	if (!scan_stop())
		return false;
	scan_resume();
	if (!maps_find((uintptr_t)&here, &(struct mapping){ 0 }))
		return false;
	dirty_start();
	/* relaxed: there is one thread. */
	atomic_store_explicit(&cycle.is_on, true, memory_order_relaxed);
	return true;
}

/* relaxed, all: the child has one thread. */
void cycle_fork_child(void)
{
	if (!atomic_load_explicit(&cycle.is_on, memory_order_relaxed))
		return;
	lock_reset_after_fork(&cycle.lock);
	set_black(false);
	set_phase(CYCLE_OFF);
	atomic_store_explicit(&cycle.nhelping, 0, memory_order_relaxed);
	cycle.has_marks = false;
	mark_fork_child();
	sweep_fork_child();
	dirty_fork_child();
}
