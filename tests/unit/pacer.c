/* pacer.c: the arithmetic at its edges, and programs simulated in steps of 100 us: does the heap stay at
 * its goal, and what does collection take?
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

/* --- simulated programs --- */

Test(pacer, a_steady_leak_stays_at_its_goal)
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

Test(pacer, a_fast_program_is_kept_at_its_goal)
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
Test(pacer, without_assists_it_would_not_be)
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

Test(pacer, a_burst_after_quiet_does_not_run_away)
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
Test(pacer, a_program_that_is_too_fast_gets_its_half)
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
Test(pacer, a_change_of_phase_is_followed)
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
Test(pacer, a_growing_heap_is_read_a_bounded_number_of_times)
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
Test(pacer, spinning_mutators_do_not_starve_marking)
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

Test(pacer, what_is_freed_by_the_program_starts_no_cycle)
{
	struct program g = a_program(2, MB(1000), MB(50));

	g.put_share = 1;
	start(&g, 100, PACER_NO_LIMIT);
	run(&g, 10);
	tell(&g, "freed", 10);
	cr_assert_leq(g.nfull, 1, "the first one, for what lives is new");
}

Test(pacer, a_cache_that_is_quiet_gets_minor_cycles)
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
Test(pacer, a_heap_that_is_all_hot_gets_full_cycles)
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

Test(pacer, nothing_goes_above_the_limit_if_there_is_room)
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
Test(pacer, no_death_spiral_at_the_limit)
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

Test(pacer, tiny_heaps_do_not_thrash)
{
	struct program g = a_program(1, MB(100), KIB(100));

	start(&g, 100, PACER_NO_LIMIT);
	run(&g, 10);
	tell(&g, "tiny", 10);
	cr_assert_lt(share_of(&g, 10), 0.1);
	cr_assert_lt(g.most_bytes, MB(9));
}

/* A cycle has its price, even where almost nothing lives. */
Test(pacer, a_tiny_heap_that_is_taken_from_fast_gets_some_room)
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

Test(pacer, a_slow_leak_stays_within_twice_of_what_was_asked_for)
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
Test(pacer, a_heap_full_of_holes_is_not_read_all_the_time)
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

/* --- arithmetic --- */

static struct pacer_plan plan_after(uint64_t live_bytes, uint64_t root_bytes, uint64_t percent)
{
	struct pacer p;
	struct pacer_cycle c = { .live_bytes = live_bytes, .marked_bytes = live_bytes, .root_bytes = root_bytes, .elapsed_s = 1 };

	pacer_start(&p, percent, PACER_NO_LIMIT, 2, 1);
	pacer_learn(&p, &c);
	return pacer_plan(&p, 0, false);
}

Test(pacer, the_goal_is_go_s)
{
	cr_assert_eq(plan_after(MIB(100), 0, 100).goal_bytes, MIB(200));
	cr_assert_eq(plan_after(MIB(100), MIB(10), 100).goal_bytes, MIB(210));
	cr_assert_eq(plan_after(MIB(100), MIB(10), 50).goal_bytes, MIB(155));
	cr_assert_eq(plan_after(MIB(1), 0, 100).goal_bytes, MIB(4));
	cr_assert_eq(plan_after(MIB(1), 0, 200).goal_bytes, MIB(8));
	cr_assert_eq(plan_after(0, 0, 100).goal_bytes, MIB(4));
	cr_assert_eq(plan_after(MIB(100), 0, PACER_PERCENT_OFF).goal_bytes, UINT64_MAX);
	cr_assert_eq(plan_after(MIB(100), 0, PACER_PERCENT_OFF).trigger_bytes, UINT64_MAX);
}

Test(pacer, the_trigger_lies_between_what_lives_and_the_goal)
{
	static const uint64_t lives[] = { 0, 1, KIB(100), MIB(3), MIB(100), GIB(20), GIB(1) << 20 };
	static const uint64_t percents[] = { 1, 10, 100, 1000, 1000000 };

	for (size_t i = 0; i < sizeof lives / sizeof *lives; i++) {
		for (size_t k = 0; k < sizeof percents / sizeof *percents; k++) {
			struct pacer_plan plan = plan_after(lives[i], MIB(1), percents[k]);

			cr_assert_gt(plan.trigger_bytes, lives[i]);
			cr_assert_leq(plan.trigger_bytes, plan.goal_bytes);
		}
	}
}

/* Of 100 MiB, 90 a block of 160 bytes, 25 are beside it: (90 + 90) / 1.25. */
static struct pacer_cycle a_spread_cycle(void)
{
	return (struct pacer_cycle){ .start_bytes = MIB(200), .end_bytes = MIB(200), .live_bytes = MIB(100),
		                     .marked_bytes = MIB(100), .marked_blocks = MIB(100) / 160,
		                     .resident_bytes = MIB(250), .cpu_s = 0.1, .elapsed_s = 1 };
}

Test(pacer, the_near_goal_is_resident_memory_for_what_was_asked_for)
{
	struct pacer_cycle c = a_spread_cycle();
	struct pacer p;
	double asked;

	pacer_start(&p, 100, PACER_NO_LIMIT, 2, 1);
	pacer_learn(&p, &c);
	asked = 1 - 10.0 / 160;
	cr_assert_float_eq((double)pacer_plan(&p, 0, false).near_goal_bytes, MB(200) * asked / 1.25, MB(0.01));
	cr_assert_eq(pacer_plan(&p, 0, false).goal_bytes, MIB(200));
	cr_assert_float_eq(pacer_plan(&p, 0, false).near_after_s, 5, 1e-9, "0.1 s of 2 processors");
	c.resident_bytes = MIB(400);
	pacer_learn(&p, &c);
	cr_assert_float_eq((double)pacer_plan(&p, 0, false).near_goal_bytes, MB(200) * asked / 1.25, MB(0.01),
	                   "the least counts");
	for (int i = 1; i < PACER_NCYCLES; i++)
		pacer_learn(&p, &c);
	cr_assert_eq(pacer_plan(&p, 0, false).near_goal_bytes, MIB(125), "a quarter of the way");
}

Test(pacer, there_is_no_near_goal_where_nothing_is_known)
{
	struct pacer_plan plan = plan_after(MIB(100), MIB(10), 100);

	cr_assert_eq(plan.near_goal_bytes, plan.goal_bytes);
	cr_assert_eq(plan.near_trigger_bytes, plan.trigger_bytes);
	plan = plan_after(MIB(100), MIB(10), PACER_PERCENT_OFF);
	cr_assert_eq(plan.near_goal_bytes, UINT64_MAX);
	cr_assert_eq(plan.near_trigger_bytes, UINT64_MAX);
}

Test(pacer, small_blocks_have_large_ends)
{
	static const struct { uint64_t block_bytes; double lost; } cases[] = {
		{ 16, 8 }, { 128, 8 }, { 256, 16 }, { 65536, 4096 }, { MIB(1), 4096 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct pacer_cycle c = a_spread_cycle();
		struct pacer p;
		double block = (double)cases[i].block_bytes;

		c.marked_bytes = 1000 * cases[i].block_bytes;
		c.marked_blocks = 1000;
		pacer_start(&p, 100, PACER_NO_LIMIT, 2, 1);
		pacer_learn(&p, &c);
		cr_assert_float_eq(p.asked_share, 1 - cases[i].lost / block, 1e-9);
	}
}

Test(pacer, the_near_goal_counts_after_a_while)
{
	struct pacer_plan plan = { .goal_bytes = 200, .trigger_bytes = 190, .near_goal_bytes = 150,
		                   .near_trigger_bytes = 140, .near_after_s = 5 };

	cr_assert_not(pacer_is_due(&plan, 139, 100));
	cr_assert_not(pacer_is_due(&plan, 189, 4.9));
	cr_assert(pacer_is_due(&plan, 140, 5));
	cr_assert(pacer_is_due(&plan, 190, 0));
}

Test(pacer, the_limit_is_no_reason_to_take_more_than_the_half)
{
	struct pacer_cycle c = a_spread_cycle();
	struct pacer p;

	pacer_start(&p, 100, PACER_NO_LIMIT, 2, 1);
	pacer_learn(&p, &c);
	cr_assert_eq(pacer_plan(&p, 0, false).most_bytes, MIB(300));
	pacer_start(&p, 100, MIB(150), 2, 1);
	pacer_learn(&p, &c);
	cr_assert_eq(pacer_plan(&p, 0, false).most_bytes, UINT64_MAX);
}

Test(pacer, a_cycle_that_begins_near_has_the_near_goal)
{
	struct pacer_plan plan = { .goal_bytes = MIB(200), .trigger_bytes = MIB(190),
		                   .near_goal_bytes = MIB(150), .near_trigger_bytes = MIB(140) }, far = plan;

	pacer_begin(&plan, MIB(141));
	cr_assert_eq(plan.goal_bytes, MIB(151), "as far as it was from the trigger");
	pacer_begin(&far, MIB(100));
	cr_assert_eq(far.goal_bytes, MIB(200), "one that was asked for");
}

Test(pacer, a_limit_counts_without_a_percentage)
{
	struct pacer p;
	struct pacer_cycle c = { .live_bytes = MIB(10), .marked_bytes = MIB(10), .elapsed_s = 1 };

	pacer_start(&p, PACER_PERCENT_OFF, MIB(100), 2, 1);
	pacer_learn(&p, &c);
	cr_assert_eq(pacer_plan(&p, MIB(20), false).goal_bytes, MIB(80) - MIB(100) / 32);
	cr_assert_gt(pacer_plan(&p, MIB(200), false).goal_bytes, MIB(10));
	cr_assert_lt(pacer_plan(&p, MIB(200), false).goal_bytes, MIB(11));
}

Test(pacer, due_is_a_line)
{
	cr_assert_eq(pacer_due(1000, 0, 100, 200, 100), 0);
	cr_assert_eq(pacer_due(1000, 0, 100, 200, 50), 0);
	cr_assert_eq(pacer_due(1000, 0, 100, 200, 150), 500);
	cr_assert_eq(pacer_due(1000, 400, 100, 200, 150), 100);
	cr_assert_eq(pacer_due(1000, 600, 100, 200, 150), 0);
	cr_assert_eq(pacer_due(1000, 600, 100, 200, 200), 400);
	cr_assert_eq(pacer_due(1000, 600, 100, 200, 5000), 400);
	cr_assert_eq(pacer_due(1000, 1000, 100, 200, 5000), 0);
	cr_assert_eq(pacer_due(1000, 600, 200, 100, 300), 400);
	cr_assert_eq(pacer_due(0, 0, 0, 0, 0), 0);
	cr_assert_eq(pacer_due(1000, 0, 0, UINT64_MAX, 5), 0);
}

Test(pacer, an_assist_is_bounded)
{
	struct pacer_plan plan = { .goal_bytes = MIB(200), .work_bytes = MIB(150), .assist_ratio = 1.5,
		                   .most_bytes = MIB(300), .has_assists = true };

	cr_assert_eq(pacer_assist(&plan, MIB(100), MIB(100), 0, MIB(1)), 0);
	cr_assert_eq(pacer_assist(&plan, MIB(100), MIB(101), 0, MIB(1)), MIB(1), "the line ends at 250");
	cr_assert_eq(pacer_assist(&plan, MIB(100), MIB(110), MIB(10), MIB(1)), 0);
	cr_assert_eq(pacer_assist(&plan, MIB(100), MIB(199), 0, KIB(50)), KIB(300));
	cr_assert_eq(pacer_assist(&plan, MIB(100), MIB(199), 0, MIB(1)), MIB(1));
	cr_assert_eq(pacer_assist(&plan, MIB(100), MIB(199), 0, 1), KIB(64));
	cr_assert_eq(pacer_assist(&plan, MIB(100), MIB(249), MIB(149), MIB(1)), 0);
	cr_assert_eq(pacer_assist(&plan, MIB(100), MIB(250), MIB(500), MIB(1)), MIB(1), "it is late");
	cr_assert_eq(pacer_assist(&plan, MIB(180), MIB(185), MIB(155), MIB(1)), 0, "more than thought");
	cr_assert_eq(pacer_assist(&plan, MIB(180), MIB(209), MIB(155), MIB(1)), MIB(1));
	plan.is_limited = true;
	cr_assert_eq(pacer_assist(&plan, MIB(100), MIB(200), MIB(500), MIB(1)), MIB(1), "no further");
	plan.has_assists = false;
	cr_assert_eq(pacer_assist(&plan, MIB(100), MIB(199), 0, MIB(1)), 0, "the half is used up");
	cr_assert_eq(pacer_assist(&plan, MIB(100), MIB(299), 0, MIB(1)), 0);
	cr_assert_eq(pacer_assist(&plan, MIB(100), MIB(300), 0, MIB(1)), MIB(1), "twice the way");
}

Test(pacer, by_the_clock_a_full_cycle_comes_if_it_is_cheap)
{
	struct pacer p;
	struct pacer_cycle c = { .live_bytes = MIB(100), .cpu_s = 0.5, .elapsed_s = 10 };

	pacer_start(&p, 100, PACER_NO_LIMIT, 2, 1);
	cr_assert(pacer_full_is_cheap(&p, 0.001), "there was none");
	pacer_learn(&p, &c);
	cr_assert_not(pacer_full_is_cheap(&p, 24));
	cr_assert(pacer_full_is_cheap(&p, 26));
}

/* A full cycle of 100 ms in a second that finds 100 of 200 MiB dead. */
static struct pacer_cycle a_cycle(void)
{
	return (struct pacer_cycle){ .start_bytes = MIB(190), .end_bytes = MIB(200), .live_bytes = MIB(100), .marked_bytes = MIB(100),
		                     .reclaimed_bytes = MIB(100), .work_bytes = MIB(100), .mark_s = 0.1,
		                     .cpu_s = 0.1, .elapsed_s = 1 };
}

static struct pacer after(const struct pacer_cycle *c)
{
	struct pacer p;

	pacer_start(&p, 100, PACER_NO_LIMIT, 2, 1);
	pacer_learn(&p, c);
	return p;
}

Test(pacer, the_runway_is_what_is_taken_without_assists)
{
	struct pacer_cycle c = a_cycle();
	struct pacer p = after(&c);

	cr_assert_eq(pacer_plan(&p, 0, false).trigger_bytes, MIB(190));
	c.assist_s = 0.05;                      /* half of the time of the other processor */
	c.assist_bytes = MIB(50);
	p = after(&c);
	cr_assert_eq(pacer_plan(&p, 0, false).trigger_bytes, MIB(170));
}

Test(pacer, the_largest_of_four_ratios_counts)
{
	struct pacer_cycle c = a_cycle();
	struct pacer p;

	c.start_bytes = MIB(160);
	p = after(&c);
	c.start_bytes = MIB(190);
	for (int i = 0; i < PACER_NCYCLES - 1; i++)
		pacer_learn(&p, &c);
	cr_assert_eq(pacer_plan(&p, 0, false).trigger_bytes, MIB(160));
	pacer_learn(&p, &c);
	cr_assert_eq(pacer_plan(&p, 0, false).trigger_bytes, MIB(190));
}

Test(pacer, half_of_what_lived_more_still_counts)
{
	struct pacer_cycle c = a_cycle();
	struct pacer p = after(&c);

	c.live_bytes = MIB(50);
	pacer_learn(&p, &c);
	cr_assert_eq(pacer_plan(&p, 0, false).goal_bytes, MIB(150));
	c.live_bytes = MIB(90);
	pacer_learn(&p, &c);
	cr_assert_eq(pacer_plan(&p, 0, false).goal_bytes, MIB(180));
}

Test(pacer, what_was_taken_meanwhile_counts_as_far_as_what_was_found)
{
	struct pacer_cycle c = a_cycle();
	struct pacer p;

	c.live_bytes = MIB(190);
	p = after(&c);
	cr_assert_eq(pacer_plan(&p, 0, false).goal_bytes, MIB(380));
	c.live_bytes = MIB(1000);
	p = after(&c);
	cr_assert_eq(p.base_bytes, MIB(200));
}

Test(pacer, minor_cycles_leave_half_of_the_room)
{
	struct pacer_cycle c = a_cycle();
	struct pacer p = after(&c);

	cr_assert(pacer_plan(&p, 0, true).next_is_minor);
	cr_assert_not(pacer_plan(&p, 0, false).next_is_minor, "nothing is armed");
	c = (struct pacer_cycle){ .is_minor = true, .start_bytes = MIB(190), .end_bytes = MIB(200),
		                  .live_bytes = MIB(149), .reclaimed_bytes = MIB(51), .cpu_s = 0.01,
		                  .mark_s = 0.01, .work_bytes = MIB(5), .elapsed_s = 1 };
	pacer_learn(&p, &c);
	cr_assert_eq(pacer_plan(&p, 0, true).goal_bytes, MIB(200), "it never moves the goal");
	cr_assert(pacer_plan(&p, 0, true).next_is_minor);
	c.live_bytes = MIB(151);
	pacer_learn(&p, &c);
	cr_assert_not(pacer_plan(&p, 0, true).may_be_minor);
}

Test(pacer, faults_are_a_cost_of_minor_cycles)
{
	struct pacer_cycle c = a_cycle(), minor = { .is_minor = true, .end_bytes = MIB(200),
		                                    .live_bytes = MIB(140), .reclaimed_bytes = MIB(60),
		                                    .cpu_s = 0.01, .elapsed_s = 1 };
	struct pacer p = after(&c);

	pacer_learn(&p, &minor);
	cr_assert(pacer_wants_minor(&p));
	minor.fault_s = 0.1;
	pacer_learn(&p, &minor);
	cr_assert_not(pacer_wants_minor(&p), "60 MiB for 110 ms, 100 for 100");
}

Test(pacer, beyond_its_half_nobody_assists_and_cycles_wait)
{
	struct pacer_cycle c = a_cycle();
	struct pacer p;

	c.cpu_s = 1.2;                          /* of two processors for one second */
	c.mark_s = 1;
	p = after(&c);
	cr_assert(pacer_plan(&p, 0, false).has_assists, "a burst may pass");
	for (int i = 0; i < 12; i++)
		pacer_learn(&p, &c);
	cr_assert_not(pacer_plan(&p, 0, false).has_assists);
	cr_assert_float_eq(pacer_plan(&p, 0, false).wait_s, 0.2, 1e-9);
	c = a_cycle();
	for (int i = 0; i < 3; i++)
		pacer_learn(&p, &c);
	cr_assert(pacer_plan(&p, 0, false).has_assists);
	cr_assert_eq(pacer_plan(&p, 0, false).wait_s, 0);
}

Test(pacer, waiting_for_it_is_a_cost)
{
	struct pacer_cycle c = a_cycle();
	struct pacer p;

	c.idle_s = 1.5;
	p = after(&c);
	for (int i = 0; i < 4; i++)
		pacer_learn(&p, &c);
	cr_assert_not(pacer_plan(&p, 0, false).has_assists);
}

Test(pacer, no_cycle_is_learnt_from_that_did_nothing)
{
	struct pacer p;
	struct pacer_cycle c = { 0 };

	pacer_start(&p, 100, PACER_NO_LIMIT, 0, 0);
	for (int i = 0; i < 10; i++)
		pacer_learn(&p, &c);
	cr_assert_eq(pacer_plan(&p, 0, true).goal_bytes, MIB(4));
	cr_assert(!pacer_plan(&p, 0, true).next_is_minor);
	cr_assert_eq(pacer_plan(&p, 0, true).assist_ratio, 0);
}
