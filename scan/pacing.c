/* pacing.c: see pacing.h.
 *
 * Reached from preload/collector.c. Depends on pacer.h, cycle.h, and core/budget.h, by which threads
 * that allocate are asked to come here.
 *
 *     the budget    between cycles   until the heap is where the next one is to start
 *                   marking          until the next look at whether marking is behind
 *                   sweeping         the same for the sweep
 * plan, start_bytes and swept_from change while phase is CYCLE_OFF only, and are read in other phases: a
 * thread that is late by a phase reads some of each, and helps too much or too little, once. Read while
 * it is CYCLE_OFF, they may start a cycle that is not due (who runs it looks again), or none for
 * AGAIN_BYTES: the budget up to a trigger is set by who runs cycles alone.
 */
#include "scan/pacing.h"

#include "core/budget.h"
#include "core/heap.h"
#include "core/knobs.h"
#include "core/limit.h"
#include "core/meta.h"
#include "core/os.h"
#include "core/sweep.h"
#include "scan/dirty.h"
#include "scan/mark.h"
#include "scan/pacer.h"
#include "scan/pauses.h"
#include "scan/tally.h"
#include "scan/trace.h"
#include "scan/workers.h"

#define AGAIN_BYTES KIB(256)                    /* allocated until a thread is asked again */
#define WAIT_BYTES MIB(1)                       /* the same, while no cycle may start yet */
#define SWEEP_WAY_LEAST MIB(1)
#define SWEEP_MAX_BYTES MIB(4)                  /* at once, by a thread that allocates: 0.1 ms or so */
#define NS_PER_S 1e9
#define FAULT_S 1e-6                            /* a write to a page that is armed */
#define CALL_S 1.2e-6                           /* a system call that is looked at meanwhile */
#define NS_PER_BYTE 2                           /* of marking */
#define NAP_MAX_NS UINT64_C(20000000)
#define LATE_PART 4                             /* the heap is late by that part of its goal, ... */
#define LATE_LEAST_BYTES MIB(16)                /* ... or by this */
#define LATE_BYTES MIB(1)                       /* a nap of 2 ms then ... */
#define LATE_TIMES 50                           /* ... and of 20 where it is a fifth behind that */

static struct {
	struct pacer pacer;
	struct pacer_plan plan;
	uint64_t start_ns;                      /* of the process */
	uint64_t start_bytes;                   /* in use, when the cycle began ... */
	uint64_t resident_bytes;                /* ... then, of the heap and its records */
	uint64_t began_ns, began_cpu_us;        /* ... then, and what its thread had taken by `clock` */
	int clock;
	_Atomic uint64_t swept_from;            /* in use, when its sweep was first looked at; 0: not yet */
	uint64_t ended_ns, full_ended_ns;       /* the last cycle; the last full one */
	uint64_t ended_cpu_us;                  /* the process had taken, then */
	_Atomic uint64_t nap_ns;                /* since then */
	struct dirty_counts seen;               /* until then */
	unsigned nprocs;
} pacing;

static int64_t budget_until(uint64_t trigger, uint64_t now)
{
	if (trigger == UINT64_MAX)
		return INT64_MAX;
	return trigger > now ? (int64_t)(trigger - now) : 0;
}

static double since_s(uint64_t ns)
{
	return (double)(os_now_ns() - ns) / NS_PER_S;
}

/* Until a cycle may be due: behind the near trigger that is a matter of time. */
static void wait_for_trigger(void)
{
	uint64_t used = cycle_used_bytes(), near = pacing.plan.near_trigger_bytes;
	int64_t until = budget_until(used < near ? near : pacing.plan.trigger_bytes, used);

	budget_set(used < near || until < (int64_t)WAIT_BYTES ? until : (int64_t)WAIT_BYTES);
}

static void plan_next(void)
{
	pacing.plan = pacer_plan(&pacing.pacer, meta_bytes(), cycle_can_be_minor());
	wait_for_trigger();
}

void pacing_start(void)
{
	pacing.nprocs = workers_processors();
	pacer_start(&pacing.pacer, knobs.gc_percent, knobs.memory_limit_bytes, pacing.nprocs,
	            workers_wanted(WORKERS_BESIDE));
	pacing.start_ns = pacing.ended_ns = pacing.full_ended_ns = os_now_ns();
	pacing.ended_cpu_us = os_process_cpu_us();
	pacing.seen = dirty_counts();
	plan_next();
}

enum cycle_kind pacing_kind(void)
{
	return pacing.plan.next_is_minor ? CYCLE_MINOR : CYCLE_FULL;
}

enum cycle_kind pacing_kind_by_clock(void)
{
	bool is_cheap = pacer_full_is_cheap(&pacing.pacer, since_s(pacing.full_ended_ns));

	return pacing.plan.may_be_minor && !is_cheap ? CYCLE_MINOR : CYCLE_FULL;
}

bool pacing_is_due(void)
{
	if (pacer_is_due(&pacing.plan, cycle_used_bytes(), since_s(pacing.ended_ns)))
		return true;
	wait_for_trigger();
	return false;
}

bool pacing_begin(void)
{
	pacing.start_bytes = cycle_used_bytes();
	pacing.resident_bytes = limit_resident_bytes();
	pacing.clock = os_thread_clock();
	pacing.began_cpu_us = os_thread_cpu_us();
	pacing.began_ns = os_now_ns();
	/* relaxed: see the head. */
	atomic_store_explicit(&pacing.swept_from, 0, memory_order_relaxed);
	pacer_begin(&pacing.plan, pacing.start_bytes);
	budget_set((int64_t)pacer_assist_every(&pacing.plan));
	return pacer_wants_minor(&pacing.pacer);
}

/* Naps cost what the process could have done meanwhile: nothing where its other threads keep the
 * processors busy. */
static double idle_s(double elapsed_s)
{
	uint64_t cpu_us = os_process_cpu_us();
	double left_s = elapsed_s * pacing.nprocs - (double)(cpu_us - pacing.ended_cpu_us) / 1e6;
	/* relaxed: a figure. */
	uint64_t nap_ns = atomic_exchange_explicit(&pacing.nap_ns, 0, memory_order_relaxed);
	double naps_s = (double)nap_ns / NS_PER_S;

	pacing.ended_cpu_us = cpu_us;
	return naps_s < left_s ? naps_s : left_s > 0 ? left_s : 0;
}

/* What it cost the program since the last cycle that its writes were to be seen. */
static double fault_s(void)
{
	struct dirty_counts now = dirty_counts(), before = pacing.seen;

	pacing.seen = now;
	return (double)(now.nfaults - before.nfaults) * FAULT_S + (double)(now.ncalls - before.ncalls) * CALL_S;
}

static void learn(const struct cycle_last *last, uint64_t elapsed_ns)
{
	uint64_t stopped_ns = last->arm_stop_ns + last->first_stop_ns + last->final_stop_ns;
	uint64_t helped = last->assist_bytes;
	uint64_t read = last->read_bytes - last->root_bytes;

	pacer_learn(&pacing.pacer, &(struct pacer_cycle){
		.is_minor = last->kind == CYCLE_MINOR,
		.start_bytes = last->heap_before,
		.end_bytes = last->heap_marked,
		.live_bytes = last->heap_marked > last->reclaimed_bytes
		              ? last->heap_marked - last->reclaimed_bytes : 0,
		.marked_bytes = last->live_bytes,
		.marked_blocks = last->live_blocks,
		.resident_bytes = pacing.resident_bytes,
		.reclaimed_bytes = last->reclaimed_bytes,
		.root_bytes = last->root_bytes,
		.work_bytes = last->read_bytes > last->root_bytes && read > helped ? read - helped : 0,
		.assist_bytes = helped,
		.mark_s = (double)last->mark_ns / NS_PER_S,
		.stopped_s = (double)stopped_ns / NS_PER_S,
		.cpu_s = (double)last->cpu_us / 1e6,
		.assist_s = (double)last->assist_ns / NS_PER_S,
		.fault_s = fault_s(),
		.elapsed_s = (double)elapsed_ns / NS_PER_S,
		.idle_s = idle_s((double)elapsed_ns / NS_PER_S),
	});
}

static void trace(const struct cycle_last *last, bool is_forced, int fd)
{
	struct text t = { 0 };

	if (fd < 0 || !trace_is_on())
		return;
	trace_line(&t, last, &(struct trace_world){
		.start_ns = pacing.start_ns, .goal_bytes = pacing.plan.goal_bytes,
		.after_bytes = cycle_used_bytes(), .nprocs = pacing.nprocs, .is_forced = is_forced,
	});
	text_flush(&t, fd);
}

void pacing_end(bool is_forced, int fd)
{
	struct cycle_last last = cycle_last();

	tally_add(&last);
	trace(&last, is_forced, fd);
	if (last.failure) {
		pacer_put_off(&pacing.plan, cycle_used_bytes());
		wait_for_trigger();
	} else {
		learn(&last, last.ended_ns - pacing.ended_ns);
		plan_next();
	}
	pacing.ended_ns = last.ended_ns;
	if (!last.failure && last.kind == CYCLE_FULL)
		pacing.full_ended_ns = last.ended_ns;
}

static uint64_t at_least(uint64_t n, uint64_t min)
{
	return n > min ? n : min;
}

static uint64_t at_most(uint64_t n, uint64_t max)
{
	return n < max ? n : max;
}

/* What is left of a cycle may be in the hands of its thread, which others keep from running: who should
 * have read `nbytes`, and found nothing to read, lets it run for as long. */
static void nap(uint64_t nbytes)
{
	uint64_t ns = at_most(nbytes * NS_PER_BYTE, NAP_MAX_NS);

	if (!nbytes || cycle_phase() == CYCLE_STOP)
		return;
	os_nap_ns(ns);
	/* relaxed: a figure. */
	atomic_fetch_add_explicit(&pacing.nap_ns, ns, memory_order_relaxed);
}

/* Did the thread that collects, since the cycle began, get less than half of a processor? */
static bool is_starved(void)
{
	uint64_t cpu_us = os_clock_us(pacing.clock) - pacing.began_cpu_us;

	return cpu_us * 2000 < os_now_ns() - pacing.began_ns;
}

/* Where the heap is far behind `goal` and the cycle is not over because others keep its thread from
 * running: what a thread should have read, which makes its nap, the longer the later it is, for there
 * may be many of them. Such a thread comes here whenever it takes slots from spans. With 20 threads
 * that allocate on 2 processors the heap grew to 7 times its goal without naps, and with 200 to 11
 * times; naps where marking had a processor to itself cost a program a fifth of its time. 0: none. */
static uint64_t late_bytes(uint64_t used, uint64_t goal)
{
	uint64_t late = goal + at_least(goal / LATE_PART, LATE_LEAST_BYTES);

	if (goal == UINT64_MAX || used < late || !is_starved())
		return 0;
	return (uint64_t)((double)LATE_BYTES * (1 + LATE_TIMES * (double)(used - late) / (double)late));
}

static void help_mark(void)
{
	uint64_t used = cycle_used_bytes(), every = pacer_assist_every(&pacing.plan);
	uint64_t due = pacer_assist(&pacing.plan, pacing.start_bytes, used, mark_counts().nbytes, every);
	uint64_t late = late_bytes(used, pacing.plan.goal_bytes);

	budget_set(late ? 0 : (int64_t)every);
	if (due && cycle_assist(due) < due / 2)
		nap(late);
}

/* Sweeping counts what it reclaimed when it is over: until then the heap grows from here on. */
static uint64_t sweep_line_from(uint64_t used)
{
	uint64_t from = 0;

	/* relaxed, both: a figure; one thread sets it. */
	if (atomic_compare_exchange_strong_explicit(&pacing.swept_from, &from, used, memory_order_relaxed,
	                                            memory_order_relaxed))
		return used;
	return from;
}

/* Half of what is taken from the end of a cycle to the beginning of the next. */
static uint64_t sweep_way(void)
{
	uint64_t live = pacing.pacer.live_bytes, trigger = pacing.plan.trigger_bytes;
	uint64_t way = trigger > live && trigger != UINT64_MAX ? (trigger - live) / 2 : 0;

	return at_least(way, SWEEP_WAY_LEAST);
}

static void help_sweep(void)
{
	size_t heap_bytes = atomic_load_explicit(&heap.nbytes, memory_order_relaxed);
	uint64_t used = cycle_used_bytes(), from = sweep_line_from(used), to = from + sweep_way();
	uint64_t due = pacer_due(heap_bytes, sweep_claimed_bytes(), from, to, used);

	uint64_t late = late_bytes(used, to);

	budget_set(late ? 0 : AGAIN_BYTES);
	if (!due || !cycle_assist(at_most(due, SWEEP_MAX_BYTES)))
		nap(late);
}

/* A cycle that fails over and over, or a heap that grows at once behind the goal, but not too far: not
 * more than half of the time is for collecting. */
static bool has_to_wait(void)
{
	return since_s(pacing.ended_ns) < pacing.plan.wait_s && cycle_used_bytes() < pacing.plan.most_bytes;
}

bool pacing_spent(void)
{
	switch (cycle_phase()) {
	case CYCLE_MARK:
		help_mark();
		return false;
	case CYCLE_SWEEP:
		help_sweep();
		return false;
	case CYCLE_STOP:
		return false;
	default:
		break;
	}
	if (has_to_wait()) {
		budget_set(WAIT_BYTES);
		return false;
	}
	/* Not until the next trigger: what is planned may just have changed. */
	budget_set(AGAIN_BYTES);
	if (!pacer_is_due(&pacing.plan, cycle_used_bytes(), since_s(pacing.ended_ns)))
		return false;
	nap(late_bytes(cycle_used_bytes(), pacing.plan.goal_bytes));
	return true;
}

void pacing_fork_child(void)
{
	pauses_fork_child();
	tally_fork_child();
	pacing_start();
}
