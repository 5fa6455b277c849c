/* pacer_programs.c: programs simulated in steps of 100 us: does the heap stay at its goal, and what does
 * collection take?
 *
 * A simulated program has threads that take memory as fast as a processor allows. Of what it takes
 * one part dies at once, one when the program says so, one stays. Marking reads what lives at so many
 * bytes a second of a processor; all runnable threads share the processors evenly. TELL=1 shows figures.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "scan/pacer.h"

#define STEP_S 1e-4
#define MB(n) ((double)(n) * 1024 * 1024)

struct program {
	/* What the program does; a test may change it as time goes. */
	double nthreads;                        /* runnable */
	double take_bps;                        /* bytes a second of a processor that a thread takes */
	double put_share;                       /* of these, put back by free() at once */
	double stay_share;                      /* of these, alive for good ... */
	bool   replaces;                        /* ... in place of older ones */
	double live_bytes;
	double root_bytes;
	double hot_share;                       /* of what lives, read again by a minor cycle */
	double mark_bps;                        /* read, of a processor */
	double nprocs, nworkers;
	double stop_s;                          /* of each cycle */
	double other_bytes;
	double spread;                          /* resident bytes for a byte in use; 0: not known */
	double block_bytes;                     /* of a slot */
	bool   can_be_minor;
	bool   no_assists;

	/* How it is. */
	struct pacer p;
	struct pacer_plan plan;
	struct pacer_cycle cycle;
	double now_s, ended_s;
	double old_garbage;                     /* marked by a cycle, dead since: minor ones keep it */
	double young_garbage;                   /* taken since the last cycle */
	double young_live;
	double garbage_at_start;                /* what this cycle can find */
	double work_bytes, done_bytes, debt_bytes;
	bool   is_marking, is_minor, is_armed;

	/* What is asked. */
	double most_over_goal;                  /* heap / goal, at the worst */
	double most_bytes;
	double cost_s, assist_s, busy_s;        /* of processors: collection; its assists; all */
	unsigned nfull, nminor;
};

static double heap_of(const struct program *g)
{
	return g->live_bytes + g->old_garbage + g->young_garbage;
}

static void start(struct program *g, uint64_t percent, uint64_t limit_bytes)
{
	pacer_start(&g->p, percent, limit_bytes, (unsigned)g->nprocs, (unsigned)g->nworkers);
	g->plan = pacer_plan(&g->p, (uint64_t)g->other_bytes, false);
}

/* 2 processors, one of them for marking. */
static struct program a_program(double nthreads, double take_bps, double live_bytes)
{
	return (struct program){ .nthreads = nthreads, .take_bps = take_bps, .live_bytes = live_bytes,
		                 .root_bytes = MB(2), .hot_share = 0.01, .mark_bps = MB(700),
		                 .nprocs = 2, .nworkers = 1, .stop_s = 0.0005 };
}

static void begin_cycle(struct program *g)
{
	pacer_begin(&g->plan, (uint64_t)heap_of(g));
	g->is_minor = g->plan.next_is_minor;
	g->is_marking = true;
	g->work_bytes = g->is_minor ? g->young_live + g->hot_share * g->live_bytes : g->live_bytes;
	g->garbage_at_start = g->young_garbage + (g->is_minor ? 0 : g->old_garbage);
	g->done_bytes = g->debt_bytes = 0;
	g->cycle = (struct pacer_cycle){ .is_minor = g->is_minor, .start_bytes = (uint64_t)heap_of(g),
		                         .resident_bytes = (uint64_t)(heap_of(g) * g->spread),
		                         .root_bytes = (uint64_t)g->root_bytes };
}

static void end_cycle(struct program *g)
{
	double found = g->garbage_at_start, sweep_s = heap_of(g) / 20e9;

	g->is_marking = false;
	g->debt_bytes = 0;
	g->cycle.end_bytes = (uint64_t)heap_of(g);
	g->old_garbage += g->young_garbage - found;     /* taken meanwhile: born marked */
	g->young_garbage = g->young_live = 0;
	g->cycle.live_bytes = (uint64_t)heap_of(g);
	g->cycle.marked_bytes = (uint64_t)g->work_bytes;
	if (g->block_bytes > 0)
		g->cycle.marked_blocks = (uint64_t)(g->work_bytes / g->block_bytes);
	g->cycle.reclaimed_bytes = (uint64_t)found;
	g->cycle.stopped_s = g->stop_s;
	g->cycle.cpu_s += sweep_s + g->root_bytes / g->mark_bps;
	g->now_s += g->stop_s;
	g->cycle.elapsed_s = g->now_s - g->ended_s;
	g->ended_s = g->now_s;
	g->cost_s += sweep_s + g->root_bytes / g->mark_bps + g->stop_s * g->nprocs;
	*(g->is_minor ? &g->nminor : &g->nfull) += 1;
	g->is_armed = g->can_be_minor && pacer_wants_minor(&g->p);
	pacer_learn(&g->p, &g->cycle);
	g->plan = pacer_plan(&g->p, (uint64_t)g->other_bytes, g->is_armed);
}

/* The program takes memory for `cpu_s` of its threads' time, less what it must assist. */
static void take(struct program *g, double cpu_s)
{
	uint64_t every = pacer_assist_every(&g->plan);
	double left_s = cpu_s - g->debt_bytes / g->mark_bps, bytes;

	if (g->is_marking && g->debt_bytes > 0) {
		double done = fmin(g->debt_bytes, cpu_s * g->mark_bps);

		g->debt_bytes -= done;
		g->done_bytes += done;
		g->cycle.assist_bytes += (uint64_t)done;
		g->cycle.assist_s += done / g->mark_bps;
		g->assist_s += done / g->mark_bps;
		g->cost_s += done / g->mark_bps;
	}
	if (left_s <= 0)
		return;
	bytes = left_s * g->take_bps;
	g->young_live += bytes * g->stay_share;
	*(g->replaces ? &g->old_garbage : &g->live_bytes) += bytes * g->stay_share;
	g->young_garbage += bytes * fmax(1 - g->stay_share - g->put_share, 0);
	if (g->is_marking && !g->no_assists) {
		double times = bytes / (double)every;
		uint64_t due = pacer_assist(&g->plan, g->cycle.start_bytes, (uint64_t)heap_of(g),
		                            (uint64_t)g->done_bytes, every);

		g->debt_bytes += (double)due * times;
	}
}

static void step(struct program *g)
{
	double nrunnable = g->nthreads + (g->is_marking ? g->nworkers : 0);
	double share = fmin(1, g->nprocs / fmax(nrunnable, 1));
	double before = heap_of(g);

	take(g, STEP_S * share * g->nthreads);
	g->busy_s += STEP_S * fmin(nrunnable, g->nprocs);
	if (g->is_marking) {
		double worker_s = STEP_S * share * g->nworkers;

		g->done_bytes += worker_s * g->mark_bps;
		g->cycle.work_bytes += (uint64_t)(worker_s * g->mark_bps);
		g->cycle.mark_s += STEP_S;
		g->cycle.cpu_s += worker_s;
		g->cost_s += worker_s;
	}
	g->now_s += STEP_S;
	g->most_bytes = fmax(g->most_bytes, heap_of(g));
	if (g->plan.goal_bytes != UINT64_MAX)
		g->most_over_goal = fmax(g->most_over_goal, heap_of(g) / (double)g->plan.goal_bytes);
	if (g->is_marking && g->done_bytes >= g->work_bytes)
		end_cycle(g);
	else if (!g->is_marking && pacer_is_due(&g->plan, (uint64_t)heap_of(g), g->now_s - g->ended_s)
	         && heap_of(g) > before && g->now_s >= g->ended_s + g->plan.wait_s)
		begin_cycle(g);
}

static void run(struct program *g, double seconds)
{
	for (double end_s = g->now_s + seconds; g->now_s < end_s;)
		step(g);
}

static void forget(struct program *g)
{
	g->most_over_goal = g->most_bytes = g->cost_s = g->assist_s = g->busy_s = 0;
	g->nfull = g->nminor = 0;
}

static double share_of(const struct program *g, double seconds)
{
	return g->cost_s / (g->nprocs * seconds);
}

static void tell(const struct program *g, const char *name, double seconds)
{
	if (getenv("TELL"))
		fprintf(stderr, "%-28s over goal %.3f, most %.0f MB, live %.0f MB, share %.3f, assists %.3f, "
		        "full %u, minor %u\n", name, g->most_over_goal, g->most_bytes / MB(1),
		        g->live_bytes / MB(1), share_of(g, seconds), g->assist_s / (2 * seconds), g->nfull,
		        g->nminor);
}

Test(pacer_programs, a_steady_leak_stays_at_its_goal)
{
	struct program g = a_program(1, MB(100), MB(100));

	start(&g, 100, PACER_NO_LIMIT);
	run(&g, 5);
	forget(&g);
	run(&g, 20);
	tell(&g, "steady", 20);
	cr_assert_lt(g.most_over_goal, 1.02);
	cr_assert_lt(g.most_bytes, 2.4 * MB(100));
	cr_assert_lt(share_of(&g, 20), 0.15);
	cr_assert_lt(g.assist_s, 0.01 * g.cost_s, "the workers alone are fast enough");
}

Test(pacer_programs, a_fast_program_is_kept_at_its_goal)
{
	struct program g = a_program(2, MB(300), MB(100));

	start(&g, 100, PACER_NO_LIMIT);
	run(&g, 2);
	forget(&g);
	run(&g, 10);
	tell(&g, "fast", 10);
	cr_assert_lt(g.most_over_goal, 1.10);
}

/* Without assists the same program runs away: the simulation can tell. */
Test(pacer_programs, without_assists_it_would_not_be)
{
	struct program g = a_program(200, MB(300), MB(100));

	g.no_assists = true;
	start(&g, 100, PACER_NO_LIMIT);
	run(&g, 2);
	forget(&g);
	run(&g, 10);
	tell(&g, "no assists", 12);
	cr_assert_gt(g.most_over_goal, 1.3);
}

Test(pacer_programs, a_burst_after_quiet_does_not_run_away)
{
	struct program g = a_program(1, MB(1), MB(200));

	start(&g, 100, PACER_NO_LIMIT);
	run(&g, 1);
	forget(&g);
	for (int i = 0; i < 10; i++) {
		g.take_bps = MB(3000);
		run(&g, 0.3);
		g.take_bps = MB(1);
		run(&g, 3);
	}
	tell(&g, "bursts", 33);
	cr_assert_lt(g.most_over_goal, 1.2);
	cr_assert_lt(share_of(&g, 33), 0.3);
}

/* Faster than half of the processors can follow: what it needs is bounded, else it has its half. */
Test(pacer_programs, a_program_that_is_too_fast_gets_its_half)
{
	struct program g = a_program(2, MB(1500), MB(100));

	start(&g, 100, PACER_NO_LIMIT);
	run(&g, 10);
	forget(&g);
	run(&g, 20);
	tell(&g, "too fast", 20);
	cr_assert_lt(share_of(&g, 20), 0.52);
	cr_assert_lt(g.most_over_goal, 1.4);
	cr_assert_lt(g.most_bytes, MB(700));
}

/* What lives falls to a tenth, and comes again. */
Test(pacer_programs, a_change_of_phase_is_followed)
{
	struct program g = a_program(1, MB(200), MB(500));

	start(&g, 100, PACER_NO_LIMIT);
	run(&g, 10);
	g.old_garbage += MB(450);
	g.live_bytes -= MB(450);
	run(&g, 10);
	forget(&g);
	run(&g, 5);
	tell(&g, "phase: low", 5);
	cr_assert_lt(g.most_bytes, MB(140));
	g.stay_share = 1;
	run(&g, 2.25);
	g.stay_share = 0;
	run(&g, 5);
	forget(&g);
	run(&g, 5);
	tell(&g, "phase: high", 5);
	cr_assert_lt(g.most_over_goal, 1.05);
}

/* Each byte stays: cycles become rare as the heap grows, and cost a bounded part of the time. */
Test(pacer_programs, a_growing_heap_is_read_a_bounded_number_of_times)
{
	struct program g = a_program(1, MB(200), MB(1));

	g.stay_share = 1;
	g.can_be_minor = true;
	start(&g, 100, PACER_NO_LIMIT);
	run(&g, 10);
	tell(&g, "growing", 10);
	cr_assert_lt(g.nfull, 15);
	cr_assert_leq(g.nminor, 1, "they would find nothing");
	cr_assert_lt(share_of(&g, 10), 0.35);
}

/* 200 threads that compute: the one worker gets a hundredth of the processors. */
Test(pacer_programs, spinning_mutators_do_not_starve_marking)
{
	struct program g = a_program(200, MB(300), MB(100));

	start(&g, 100, PACER_NO_LIMIT);
	run(&g, 2);
	forget(&g);
	run(&g, 10);
	tell(&g, "200 threads", 10);
	cr_assert_lt(g.most_over_goal, 1.25, "the line's end");
	cr_assert_lt(share_of(&g, 10), 0.6);
}

Test(pacer_programs, what_is_freed_by_the_program_starts_no_cycle)
{
	struct program g = a_program(2, MB(1000), MB(50));

	g.put_share = 1;
	start(&g, 100, PACER_NO_LIMIT);
	run(&g, 10);
	tell(&g, "freed", 10);
	cr_assert_leq(g.nfull, 1, "the first one, for what lives is new");
}

Test(pacer_programs, a_cache_that_is_quiet_gets_minor_cycles)
{
	struct program g = a_program(1, MB(100), MB(500)), full;

	g.stay_share = 0.1;
	g.replaces = true;
	full = g;
	g.can_be_minor = true;
	start(&g, 100, PACER_NO_LIMIT);
	start(&full, 100, PACER_NO_LIMIT);
	run(&g, 1);
	run(&full, 1);
	forget(&g);
	forget(&full);
	run(&g, 200);
	run(&full, 200);
	tell(&full, "quiet cache, full", 200);
	tell(&g, "quiet cache, minor", 200);
	cr_assert_gt(g.nminor, 3 * g.nfull);
	cr_assert_lt(g.most_over_goal, 1.05);
	cr_assert_lt(g.cost_s, 0.6 * full.cost_s);
}

/* Every page is hot: a minor cycle reads as much as a full one and finds less. */
Test(pacer_programs, a_heap_that_is_all_hot_gets_full_cycles)
{
	struct program g = a_program(1, MB(100), MB(200));

	g.can_be_minor = true;
	g.hot_share = 1;
	g.stay_share = 0.5;
	g.replaces = true;
	start(&g, 100, PACER_NO_LIMIT);
	run(&g, 100);
	tell(&g, "all hot", 100);
	cr_assert_gt(g.nfull, 4 * g.nminor);
}

Test(pacer_programs, nothing_goes_above_the_limit_if_there_is_room)
{
	struct program g = a_program(1, MB(200), MB(200));

	g.other_bytes = MB(20);
	start(&g, 100, (uint64_t)MB(300));
	run(&g, 2);
	forget(&g);
	run(&g, 10);
	tell(&g, "limit", 10);
	cr_assert_lt(g.most_bytes + MB(20), MB(300));
	cr_assert_lt(share_of(&g, 10), 0.5);
}

/* More lives than the limit allows: half of the time is the program's all the same. */
Test(pacer_programs, no_death_spiral_at_the_limit)
{
	struct program g = a_program(1, MB(200), MB(300));

	start(&g, 100, (uint64_t)MB(250));
	run(&g, 5);
	forget(&g);
	run(&g, 20);
	tell(&g, "beyond the limit", 20);
	cr_assert_lt(share_of(&g, 20), 0.52);
	cr_assert_lt(g.most_bytes, 1.75 * MB(300));
}

Test(pacer_programs, tiny_heaps_do_not_thrash)
{
	struct program g = a_program(1, MB(100), KIB(100));

	start(&g, 100, PACER_NO_LIMIT);
	run(&g, 10);
	tell(&g, "tiny", 10);
	cr_assert_lt(share_of(&g, 10), 0.1);
	cr_assert_lt(g.most_bytes, MB(9));
}

/* A cycle has its price, even where almost nothing lives. */
Test(pacer_programs, a_tiny_heap_that_is_taken_from_fast_gets_some_room)
{
	struct program g = a_program(1, MB(1000), KIB(100));

	g.stop_s = 0.001;
	start(&g, 100, PACER_NO_LIMIT);
	run(&g, 10);
	tell(&g, "tiny and fast", 10);
	cr_assert_lt(share_of(&g, 10), 0.2);
	cr_assert_lt(g.most_bytes, MB(40));
	g.take_bps = MB(5);
	run(&g, 20);
	forget(&g);
	run(&g, 5);
	tell(&g, "tiny and slow again", 5);
	cr_assert_lt(g.most_bytes, MB(5));
}

/* 140 MB of slots, of which the program asked for less, and which take more. */
static struct program a_leaking_server(double take_bps)
{
	struct program g = a_program(1, take_bps, MB(140));

	g.can_be_minor = true;
	g.spread = 1.08;
	g.block_bytes = 208;
	start(&g, 100, PACER_NO_LIMIT);
	run(&g, 10);
	forget(&g);
	run(&g, 300);
	return g;
}

Test(pacer_programs, a_slow_leak_stays_within_twice_of_what_was_asked_for)
{
	struct program g = a_leaking_server(MB(5));

	tell(&g, "leaking server", 300);
	cr_assert_lt(g.most_bytes * g.spread, 2 * MB(140) * (1 - 1.0 / 16));
	cr_assert_lt(share_of(&g, 300), 0.01);
	g = a_leaking_server(MB(100));
	tell(&g, "leaking faster", 300);
	cr_assert_gt(g.most_bytes, 1.95 * MB(140), "the other goal");
	cr_assert_lt(g.most_over_goal, 1.05);
}

/* Half of the memory is free slots that nobody wants. */
Test(pacer_programs, a_heap_full_of_holes_is_not_read_all_the_time)
{
	struct program g = a_program(1, MB(5), MB(140));

	g.spread = 2;
	start(&g, 100, PACER_NO_LIMIT);
	run(&g, 10);
	forget(&g);
	run(&g, 100);
	tell(&g, "holes", 100);
	cr_assert_lt(share_of(&g, 100), 0.012);
	cr_assert_lt(g.most_bytes, 1.6 * MB(140));
}
