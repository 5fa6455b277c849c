/* pacing.c: see pacing.h.
 *
 * Reached from preload/collector.c. Depends on pacer.h, cycle.h, and core/budget.h, by which threads
 * that allocate are asked to come here.
 *
 *     the budget    between cycles   until the heap is where the next one is to start
 *                   marking          until the next look at whether marking is behind
 *                   sweeping         the same for the sweep
 * plan, start_bytes and swept_from change while phase is CYCLE_OFF only, and are read in other phases: a
 * thread that is late by a phase reads some of each, and helps too much or too little, once.
 */
#include "scan/pacing.h"

#include "core/budget.h"
#include "core/heap.h"
#include "core/knobs.h"
#include "core/meta.h"
#include "core/os.h"
#include "core/sweep.h"
#include "scan/mark.h"
#include "scan/pacer.h"
#include "scan/pauses.h"
#include "scan/tally.h"
#include "scan/trace.h"
#include "scan/workers.h"

#define AGAIN_BYTES KIB(256)                    /* allocated until a thread is asked again */
#define WAIT_BYTES MIB(1)                       /* the same, while no cycle may start yet */
#define SWEEP_MAX_BYTES MIB(4)                  /* at once, by a thread that allocates: 0.1 ms or so */
#define NS_PER_S 1e9

static struct {
	struct pacer pacer;
	struct pacer_plan plan;
	uint64_t start_ns;                      /* of the process */
	uint64_t start_bytes;                   /* in use, when the cycle began */
	uint64_t ended_ns;                      /* the last cycle */
	unsigned nprocs;
} pacing;

static int64_t budget_until(uint64_t trigger, uint64_t now)
{
	if (trigger == UINT64_MAX)
		return INT64_MAX;
	return trigger > now ? (int64_t)(trigger - now) : 0;
}

static void plan_next(void)
{
	pacing.plan = pacer_plan(&pacing.pacer, meta_bytes(), cycle_can_be_minor());
	budget_set(budget_until(pacing.plan.trigger_bytes, cycle_used_bytes()));
}

void pacing_start(void)
{
	pacing.nprocs = workers_processors();
	pacer_start(&pacing.pacer, knobs.gc_percent, knobs.memory_limit_bytes, pacing.nprocs,
	            workers_wanted(WORKERS_BESIDE));
	pacing.start_ns = pacing.ended_ns = os_now_ns();
	plan_next();
}

enum cycle_kind pacing_kind(void)
{
	return pacing.plan.next_is_minor ? CYCLE_MINOR : CYCLE_FULL;
}

bool pacing_is_due(void)
{
	uint64_t used = cycle_used_bytes();

	if (used >= pacing.plan.trigger_bytes)
		return true;
	budget_set(budget_until(pacing.plan.trigger_bytes, used));
	return false;
}

bool pacing_begin(void)
{
	pacing.start_bytes = cycle_used_bytes();
	pacer_begin(&pacing.plan, pacing.start_bytes);
	budget_set((int64_t)pacer_assist_every(&pacing.plan, pacing.start_bytes));
	return pacer_wants_minor(&pacing.pacer);
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
		.reclaimed_bytes = last->reclaimed_bytes,
		.root_bytes = last->root_bytes,
		.work_bytes = last->read_bytes > last->root_bytes && read > helped ? read - helped : 0,
		.assist_bytes = helped,
		.mark_s = (double)last->mark_ns / NS_PER_S,
		.stopped_s = (double)stopped_ns / NS_PER_S,
		.cpu_s = (double)last->cpu_us / 1e6,
		.assist_s = (double)last->assist_ns / NS_PER_S,
		.elapsed_s = (double)elapsed_ns / NS_PER_S,
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
		/* As if it had found nothing dead: not again at once. */
		pacing.plan.trigger_bytes += pacing.plan.trigger_bytes / 4;
		budget_set(budget_until(pacing.plan.trigger_bytes, cycle_used_bytes()));
	} else {
		learn(&last, last.ended_ns - pacing.ended_ns);
		plan_next();
	}
	pacing.ended_ns = last.ended_ns;
}

static void help_mark(void)
{
	uint64_t every = pacer_assist_every(&pacing.plan, pacing.start_bytes);
	uint64_t due = pacer_assist(&pacing.plan, pacing.start_bytes, cycle_used_bytes(),
	                            mark_counts().nbytes, every);

	budget_set((int64_t)every);
	if (due)
		cycle_assist(due);
}

static void help_sweep(void)
{
	size_t heap_bytes = atomic_load_explicit(&heap.nbytes, memory_order_relaxed);
	uint64_t due = pacer_due(heap_bytes, sweep_claimed_bytes(), pacing.start_bytes,
	                         pacing.plan.goal_bytes, cycle_used_bytes());

	budget_set(AGAIN_BYTES);
	if (due)
		cycle_assist(due < SWEEP_MAX_BYTES ? due : SWEEP_MAX_BYTES);
}

/* A cycle that fails over and over, or a heap that grows at once behind the goal: not more than half of
 * the time is for collecting. */
static bool has_to_wait(void)
{
	return (double)(os_now_ns() - pacing.ended_ns) / NS_PER_S < pacing.plan.wait_s;
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
	budget_set(AGAIN_BYTES);
	return true;
}

void pacing_fork_child(void)
{
	pauses_fork_child();
	tally_fork_child();
	pacing_start();
}
