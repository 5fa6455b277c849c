/* cycle.c: one collection from its beginning to the end of its sweep.
 *
 * Reached from preload/collector.c: a thread runs a cycle, threads that allocate help; and in a fork
 * child. The parts are elsewhere: cycle_stop.h (stops, and arming in them), cycle_phase.h (who helps),
 * cycle_verify.h, cycle_last.h (what is known afterwards), cycle_snapshot.h (marking in a copy); dirty.h
 * (which pages were written), mark.h, roots.h, threads.h, core/marks.h and core/sweep.h. LOCK_GC is the
 * running thread's for the whole cycle, and is waited for in cycle_expect_protection() only.
 *
 *     phase        the running thread                      the program's threads
 *     CYCLE_OFF    nothing; or 1, 2, 3                     run. Blocks are born white, from 2 on black
 *     CYCLE_MARK   4, 5                                    run, help to mark. Blocks are born black
 *     CYCLE_STOP   6                                       stand, or wait for the stop with a piece of
 *                                                          marking that they finish
 *     CYCLE_SWEEP  7                                       run, help to sweep. Blocks are born black
 *
 *     1  Pages are armed: from here on written ones are dirty.
 *     2  marks.is_black: blocks are born black, their contents are on dirty pages. Then marks are
 *        cleared, in a minor cycle those where no block is. In this order: a thread may set marks with
 *        what it read of marks.is_black a cycle ago, also of slots that it gives back. Before the
 *        clearing that is undone; after it a block's contents are written to armed pages, and no block
 *        is born white around such a mark, which would hide it from addresses inside it.
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

#include "core/heap.h"
#include "core/knobs.h"
#include "core/lock.h"
#include "core/marks.h"
#include "core/os.h"
#include "core/sigmask.h"
#include "core/sweep.h"
#include "scan/cycle_snapshot.h"
#include "scan/cycle_stop.h"
#include "scan/cycle_verify.h"
#include "scan/dirty.h"
#include "scan/maps.h"
#include "scan/mark.h"
#include "scan/roots.h"
#include "scan/threads.h"
#include "scan/workers.h"

#include <string.h>

#define ROUNDS_MAX 3                            /* of precleaning */
#define PAGES_FEW 256                           /* os pages: 0.5 ms in a stop; nor if it hardly helps */
#define PIECE_BYTES MIB(1)                      /* of a sweep */
#define NAP_NS 50000                            /* for another thread's piece of it */

static struct {
	struct lock lock;

	/* The lock. */
	struct cycle_last now;
	bool has_marks;                         /* the last cycle's, and what was written since is dirty */
	bool is_lost;                           /* what was written, in this cycle */
	uint64_t npages;                        /* dirty ones, in this round */

	/* Any thread, atomic. */
	_Atomic bool is_on;
} cycle = { .lock = LOCK_INIT(LOCK_GC) };

static const unsigned aligns[] = {
	[KNOB_SCAN_ALIGN_8] = 8, [KNOB_SCAN_ALIGN_4] = 4, [KNOB_SCAN_ALIGN_1] = 1,
};

static void set_black(bool is_black)
{
	/* relaxed: a thread that reads it late was stopped in between, or its block is found (3, 6). */
	atomic_store_explicit(&marks.is_black, is_black, memory_order_relaxed);
}

/* --- reading --- */

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
	roots_visit_threads(mark_see_thread, NULL);
	if (!roots_visit_rest(false, mark_see_root, &cycle.now.root_bytes))
		return "/proc/self/maps can't be read";
	if (roots_has_uring())
		return cycle_has_uring;
	if (d && !read_dirty(d, rearm))
		return "writes were not seen";
	cycle.now.final_pages = d ? cycle.npages : 0;
	mark_drain();
	if (knobs.verify && cycle.now.kind == CYCLE_FULL)
		cycle_verify();
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

/* Marking is over, well or not. ctx: stw; any */
static void leave_marking(bool is_swept)
{
	if (is_swept)
		sweep_begin(heap_end() - heap.base);
	cycle_phase_set(is_swept ? CYCLE_SWEEP : CYCLE_OFF);
}

/* Its memory goes. ctx: any, the world runs */
static void end_marking(void)
{
	cycle_phase_await();
	mark_end();
}

static const char *collect_stopped(void)
{
	struct cycle_stop s;

	if (!cycle_stop_begin(&s))
		return "threads can't be stopped";
	cycle_phase_set(CYCLE_STOP);

	const char *why = scan_stop_info().nmissed ? "a thread did not stop" : mark_everything();

	note_marked();
	leave_marking(!why);
	cycle.now.final_stop_ns = cycle_stop_end(&s);
	end_marking();
	return why;
}

/* Where pages are armed in a stop only, a minor cycle does here what precleaning does: what is dirty
 * becomes work; unless somebody runs on who may be about to write. */
static bool stop_first(const struct dirty *d)
{
	struct cycle_stop s;

	if (!cycle_stop_begin(&s))
		return false;
	mark_extend();
	if (cycle.now.kind == CYCLE_MINOR && d->arms_stopped && !scan_stop_info().nmissed)
		read_dirty(d, true);
	roots_visit_threads(mark_see_thread, NULL);
	cycle.now.first_stop_ns = cycle_stop_end(&s);
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

	cycle_phase_set(CYCLE_MARK);
	roots_visit_rest(true, mark_see_root, &cycle.now.root_bytes);
	mark_drain();
	if (!d->arms_stopped)
		preclean(d);
	cycle.now.mark_ns = os_now_ns() - began_ns;
}

static const char *stop_finally(const struct dirty *d, bool rearm)
{
	unsigned nworkers = workers_wanted(WORKERS_ALONE);
	struct cycle_stop s;
	const char *why = NULL;

	mark_set_workers(nworkers);
	mark_call_helpers(nworkers);            /* who sleep until then */
	if (!cycle_stop_begin(&s)) {
		leave_marking(false);
		return "threads can't be stopped";
	}
	cycle_phase_set(CYCLE_STOP);
	if (!cycle.is_lost)
		why = finish_marking(d, rearm);
	if (cycle.is_lost) {
		mark_end();
		why = scan_stop_info().nmissed ? "a thread did not stop" : mark_everything();
	}
	note_marked();
	leave_marking(!why);
	cycle.now.final_stop_ns = cycle_stop_end(&s);
	return why;
}

static const char *collect_tracked(const struct dirty *d, enum cycle_kind kind, bool keeps_marks)
{
	bool rearm = keeps_marks && d->stays_armed;
	const char *why;

	if (kind == CYCLE_FULL && !cycle_arm(d, &cycle.now.arm_stop_ns)) {
		cycle.now.dirty = "stw";
		return collect_stopped();
	}
	set_black(true);
	why = start_marking(kind, WORKERS_BESIDE);
	if (!why)
		why = stop_first(d) ? NULL : "threads can't be stopped";
	if (!why) {
		mark_beside(d);
		why = stop_finally(d, rearm);
	}
	end_marking();
	if (why || cycle.is_lost || !rearm)
		cycle_disarm(d);
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
	cycle_phase_set(CYCLE_SWEEP);
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
		os_nap_ns(NAP_NS);
	sweep_finish();
	cycle.now.sweep_ns = os_now_ns() - began_ns;

	struct sweep_counts counts = sweep_counts();

	cycle.now.reclaimed_bytes = counts.nbytes;
	cycle.now.reclaimed_blocks = counts.nblocks;
	cycle_note_reclaimed(counts.nbytes);
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
	cycle_help_clear();

	const char *why = mark(kind, keeps_marks);

	if (!why)
		sweep();
	set_black(false);
	cycle_phase_set(CYCLE_OFF);
	cycle.now.failure = why;
	cycle.now.ended_ns = os_now_ns();
	cycle.now.cpu_us += os_thread_cpu_us() - cpu_us;
	cycle.now.assist_ns = cycle_help().ns;
	cycle.now.assist_bytes = cycle_help().nbytes;
	cycle_publish(&cycle.now);
	lock_drop(&cycle.lock);
	return !why;
}

void cycle_expect_protection(void)
{
	while (!mark_expects_protection()) {
		struct sigmask saved;

		/* A handler that asks for a cycle would wait for us. */
		sigmask_block(&saved);
		if (lock_try(&cycle.lock)) {
			mark_expect_protection();
			lock_drop(&cycle.lock);
		}
		sigmask_restore(&saved);
		if (!mark_expects_protection())
			os_nap_ns(NAP_NS);
	}
}

bool cycle_can_be_minor(void)
{
	return cycle.has_marks;
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

void cycle_fork_child(void)
{
	/* relaxed: the child has one thread. */
	if (!atomic_load_explicit(&cycle.is_on, memory_order_relaxed))
		return;
	lock_reset_after_fork(&cycle.lock);
	set_black(false);
	cycle_phase_fork_child();
	cycle.has_marks = false;
	mark_fork_child();
	sweep_fork_child();
	dirty_fork_child();
}
