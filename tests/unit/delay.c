/* delay.c: a delay that was given stands; `auto` follows what is wanted again. */
#include <criterion/criterion.h>

#include "core/delay.h"
#include "core/hooks.h"
#include "core/knobs.h"

/* core/report.h calls up through them. */
struct hooks hooks;

static uint64_t now_ms = 123456, reused_bytes;

static void start(void)
{
	knobs.release_delay_ms = KNOB_AUTO;
	delay_adapt(now_ms, 0);
}

/* Rounds of 25 ms, in each of which so many bytes are wanted again. */
static void rounds(unsigned n, uint64_t nbytes)
{
	while (n--) {
		now_ms += 25;
		reused_bytes += nbytes;
		delay_adapt(now_ms, reused_bytes);
	}
}

Test(delay, it_begins_short, .init = start)
{
	cr_assert_eq(delay_ms(), DELAY_MIN_MS);
	cr_assert_eq(delay_idle_ms(), DELAY_MAX_MS);
}

Test(delay, it_grows_while_memory_is_wanted_again, .init = start)
{
	uint64_t before = delay_ms();

	for (int i = 0; i < 100; i++) {
		rounds(1, MIB(4));
		cr_assert(delay_ms() == before || delay_ms() == 2 * before || delay_ms() == DELAY_MAX_MS);
		before = delay_ms();
	}
	cr_assert_eq(delay_ms(), DELAY_MAX_MS);
}

Test(delay, one_occasion_doubles_it_once, .init = start)
{
	rounds(1, MIB(500));
	rounds(3, MIB(500));
	cr_assert_eq(delay_ms(), 2 * DELAY_MIN_MS);
}

Test(delay, what_costs_less_than_a_percent_changes_nothing, .init = start)
{
	rounds(1000, KIB(400));                 /* 0.2 ms in 25 */
	cr_assert_eq(delay_ms(), DELAY_MIN_MS);
}

Test(delay, it_shrinks_when_nothing_is_wanted_for_a_while, .init = start)
{
	rounds(100, MIB(4));
	rounds(8 * DELAY_MAX_MS / 25 - 2, 0);
	cr_assert_eq(delay_ms(), DELAY_MAX_MS);
	rounds(4, 0);
	cr_assert_eq(delay_ms(), DELAY_MAX_MS / 2);
	rounds(2000, 0);
	cr_assert_eq(delay_ms(), DELAY_MIN_MS);
}

Test(delay, a_long_time_without_rounds_is_no_cost, .init = start)
{
	now_ms += 60000;
	rounds(1, MIB(100));
	cr_assert_eq(delay_ms(), DELAY_MIN_MS);
}

Test(delay, what_the_user_gave_stands, .init = start)
{
	knobs.release_delay_ms = 5000;
	rounds(100, MIB(4));
	cr_assert_eq(delay_ms(), 5000);
	cr_assert_eq(delay_idle_ms(), 5000);
	knobs.release_delay_ms = KNOB_NEVER;
	cr_assert_eq(delay_ms(), KNOB_NEVER);
}
