/* trace.c: the trace line, word for word; sums over cycles. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/hooks.h"
#include "core/knobs.h"
#include "scan/tally.h"
#include "scan/trace.h"

/* core/report.h calls up through them. */
struct hooks hooks;

#define MS UINT64_C(1000000)

static struct cycle_last a_cycle(void)
{
	return (struct cycle_last){
		.number = 7, .dirty = "uffd", .ended_ns = 2204 * MS, .first_stop_ns = 50000,
		.mark_ns = 12 * MS + 400000, .final_stop_ns = 310000, .cpu_us = 9000,
		.assist_ns = 3 * MS, .heap_before = MIB(96), .heap_marked = MIB(101) + 5,
		.live_bytes = MIB(40), .live_blocks = 1000, .reclaimed_bytes = MIB(53),
		.reclaimed_blocks = 2000, .read_bytes = MIB(42), .dirty_pages = 17,
	};
}

static struct trace_world a_world(void)
{
	return (struct trace_world){ .start_ns = 1000 * MS, .goal_bytes = MIB(97),
		                     .after_bytes = MIB(48), .nprocs = 2 };
}

static const char *line(const struct cycle_last *c, const struct trace_world *w)
{
	static struct text t;

	memset(&t, 0, sizeof t);
	tally_add(c);
	trace_line(&t, c, w);
	t.buf[t.len] = '\0';
	return t.buf;
}

TestSuite(trace, .init = tally_fork_child);

Test(trace, it_is_go_s)
{
	struct cycle_last c = a_cycle();
	struct trace_world w = a_world();

	cr_assert_str_eq(line(&c, &w),
	                 "gc 7 @1.204s 0%: 0.050+12+0.31 ms clock, 0.10+3.0/9.0/0+0.62 ms cpu, "
	                 "96->101->48 MB, 97 MB goal, 2 P, uffd\n");
}

Test(trace, what_is_out_of_the_ordinary)
{
	struct cycle_last c = a_cycle();
	struct trace_world w = a_world();

	c.kind = CYCLE_MINOR;
	c.arm_stop_ns = 9 * MS;
	c.cpu_us = 120400;
	w.is_forced = true;
	w.goal_bytes = UINT64_MAX;
	c.ended_ns = 1000 * MS + 1005 * MS;
	cr_assert_str_eq(line(&c, &w),
	                 "gc 7 @1.005s 6%: 9.0+12+0.31 ms clock, 18+3.0/120/0+0.62 ms cpu, "
	                 "96->101->48 MB, no goal, 2 P, minor, forced, uffd\n");
	c.failure = "a thread did not stop";
	c.dirty = NULL;
	c.kind = CYCLE_FULL;
	c.first_stop_ns = c.arm_stop_ns = c.final_stop_ns = 999;
	cr_assert(strstr(line(&c, &w), ": 0.001+12+0 ms clock, "));
	cr_assert(strstr(line(&c, &w), "2 P, forced, nothing reclaimed: a thread did not stop, none\n"));
}

Test(trace, it_can_be_switched)
{
	cr_assert(!trace_is_on());
	knobs.gc_trace = 1;
	cr_assert(trace_is_on());
	trace_set(false);
	cr_assert(!trace_is_on());
	knobs.gc_trace = 0;
	trace_set(true);
	cr_assert(trace_is_on());
}

Test(trace, sums)
{
	struct cycle_last c = a_cycle();

	cr_assert_null(tally_dirty());
	tally_add(&c);
	c.kind = CYCLE_MINOR;
	c.dirty = "mprotect";
	tally_add(&c);
	tally_add(&c);
	c.failure = "why ever";
	c.dirty = "stw";
	tally_add(&c);
	cr_assert_eq(tally_get(TALLY_FULL), 1);
	cr_assert_eq(tally_get(TALLY_MINOR), 2);
	cr_assert_eq(tally_get(TALLY_FAILED), 1);
	cr_assert_eq(tally_get(TALLY_FALLBACKS), 2);
	cr_assert_str_eq(tally_dirty(), "stw");
	cr_assert_eq(tally_get(TALLY_RECLAIMED_BYTES), 4 * MIB(53));
	cr_assert_eq(tally_get(TALLY_DIRTY_PAGES), 4 * 17);
	cr_assert_eq(tally_get(TALLY_STOPPED_NS), 4 * 360000);
	cr_assert_eq(tally_cost_ns(1), 4 * 12 * MS);
	cr_assert_eq(tally_cost_ns(2), 4 * (12 * MS + 360000));
	tally_fork_child();
	cr_assert_eq(tally_get(TALLY_FULL), 0);
	cr_assert_null(tally_dirty());
}
