/* pacer.c: the pacer's arithmetic at its edges. */
#include <criterion/criterion.h>

#include "scan/pacer.h"

#define MB(n) ((double)(n) * 1024 * 1024)

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

Test(pacer, after_a_failed_cycle_the_next_is_a_quarter_behind_what_is_in_use)
{
	struct pacer_plan plan = { .trigger_bytes = MIB(8), .goal_bytes = MIB(12),
	                           .near_trigger_bytes = MIB(6), .near_goal_bytes = MIB(7) };

	pacer_put_off(&plan, MIB(100));
	cr_assert_eq(plan.trigger_bytes, MIB(125));
	cr_assert_eq(plan.near_trigger_bytes, MIB(125));
	cr_assert_geq(plan.goal_bytes, plan.trigger_bytes);
	cr_assert_geq(plan.near_goal_bytes, plan.near_trigger_bytes);
	cr_assert_not(pacer_is_due(&plan, MIB(100), 1e9));
}

Test(pacer, a_failed_cycle_of_a_program_without_a_goal_makes_none)
{
	struct pacer_plan plan = { .trigger_bytes = UINT64_MAX, .goal_bytes = UINT64_MAX,
	                           .near_trigger_bytes = UINT64_MAX, .near_goal_bytes = UINT64_MAX };

	pacer_put_off(&plan, MIB(100));
	cr_assert_eq(plan.trigger_bytes, UINT64_MAX);
	cr_assert_eq(plan.goal_bytes, UINT64_MAX);
}
