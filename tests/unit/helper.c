/* helper.c: when a helper is asked for, what it may use, and how it ends. */
#include <criterion/criterion.h>

#include "tests/unit/scavenge.h"

static int nasked;

static bool refuse(const void *caller)
{
	(void)caller;
	return ++nasked > 1;
}

static void *help(void *arg)
{
	scavenge_help();
	return arg;
}

/* --- wanted --- */

Test(helper, a_helper_is_asked_for_when_much_waits, .init = core_start)
{
	hooks.start_helper = refuse;
	dirt(HELPER_BYTES - PAGE_BYTES);
	cr_assert_eq(nasked, 0);
	dirt(HELPER_BYTES);
	cr_assert_eq(nasked, 1);
	cr_assert(is_help_wanted(), "it was refused");
	dirt(KIB(400));
	cr_assert_eq(nasked, 2);
	cr_assert_not(is_help_wanted());
	dirt(HELPER_BYTES);
	cr_assert_eq(nasked, 2, "it is there");
	helper_failed();
	dirt(HELPER_BYTES);
	cr_assert_eq(nasked, 3, "it is not");
}

Test(helper, much_freed_inside_spans_is_worth_a_helper, .init = core_start)
{
	static void *blocks[20000];

	hooks.start_helper = refuse;
	for (unsigned i = 0; i < 20000; i++)
		blocks[i] = cache_alloc(1024);
	for (unsigned i = 0; i < 20000; i++)
		if (i % 16)
			cache_free(blocks[i]);
	slow_call();
	cr_assert_geq(nasked, 1);
	core_verify();
}

/* --- at work --- */

Test(helper, the_helper_gives_back_what_is_old_and_leaves)
{
	knobs.release_delay_ms = 3600 * 1000;
	core_start();
	hooks.start_helper = refuse;
	dirt(MIB(20));
	dirt(KIB(400));
	cr_assert_eq(nasked, 2);
	knobs.release_delay_ms = 50;            /* not before: these calls would give back themselves */
	core_in_thread(help, NULL);
	cr_assert_eq(dirty(), 0);
	cr_assert_eq(counted(&helper_nstarted), 1);
	dirt(HELPER_BYTES);
	cr_assert_eq(nasked, 3, "another one");
}

Test(helper, the_helper_stops_when_asked)
{
	pthread_t thread;

	knobs.release_delay_ms = 3600 * 1000;
	core_start();
	hooks.start_helper = refuse;
	dirt(MIB(20));
	dirt(KIB(400));
	cr_assert_eq(pthread_create(&thread, NULL, help, NULL), 0);
	while (!counted(&scavenge_counts.nrounds))
		sleep_ms(1);
	helper_stop();
	pthread_join(thread, NULL);
	cr_assert_eq(dirty(), MIB(20) / PAGE_BYTES, "nothing was old");
}

/* --- what it may use --- */

Test(helper, saves_what_it_did_not_use_but_not_for_ever)
{
	const uint64_t max = HELPER_CREDIT_MAX_US;

	cr_assert_eq(helper_credit_left(30000, 10000, 100), 20000 + 10000, "a tenth of the sleep");
	cr_assert_eq(helper_credit_left(max - 1000, 0, 250), max);
	cr_assert_eq(helper_credit_left(max, 0, 250), max);
}

Test(helper, owes_nothing_for_a_round_that_took_longer_than_it_may)
{
	cr_assert_eq(helper_credit_left(1000, 1000, 20), 2000);
	cr_assert_eq(helper_credit_left(1000, 50000, 20), 2000);
}

Test(helper, uses_a_tenth_of_a_processor_however_much_there_is_to_do)
{
	uint64_t credit_us = HELPER_CREDIT_MAX_US, used_us = 0;

	for (unsigned round = 0; round < 100; round++) {
		used_us += credit_us;
		credit_us = helper_credit_left(credit_us, credit_us, 100);
	}
	/* 100 times 100 ms of sleep, and what it had saved, less what the last sleep brought. */
	cr_assert_eq(used_us, HELPER_CREDIT_MAX_US + 1000 * 1000 - 10 * 1000);
}
