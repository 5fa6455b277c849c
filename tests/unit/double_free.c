/* double_free.c: a second free of a small block: at once, in a handler, by two threads. */
#include <criterion/criterion.h>
#include <signal.h>
#include <unistd.h>

#include "tests/unit/cache.h"
#include "tests/unit/capture.h"

static void start_and_warn(void)
{
	knobs.misuse = KNOB_MISUSE_WARN;
	core_start();
}

static void start_min8_and_warn(void)
{
	knobs.misuse = KNOB_MISUSE_WARN;
	core_start_min8();
}

Test(double_free, a_double_free_aborts, .init = core_start, .signal = SIGABRT)
{
	fill(0, 1, BYTES);
	cache_free(blocks[0]);
	cache_free(blocks[0]);
}

Test(double_free, a_double_free_is_one_line_and_no_harm_with_warn, .init = start_and_warn)
{
	struct capture c;
	char got[500], wanted[200];

	fill(0, 2, BYTES);
	cache_free(blocks[0]);
	capture_begin(&c);
	cache_free(blocks[0]);
	cr_assert_eq(capture_end(&c, got, sizeof got), 1);
	snprintf(wanted, sizeof wanted, "==%d==WARNING: spangc: double free of %p in free()\n",
	         getpid(), blocks[0]);
	cr_assert_str_eq(got, wanted);
	fill(2, 500, BYTES);
	drain(1, 500);
	cr_assert(core_returns_all_pages());
}

Test(double_free, double_frees_of_eight_byte_slots_are_found, .init = start_min8_and_warn)
{
	struct capture c;
	char got[500];

	fill(0, 2, 8);
	cache_free(blocks[1]);
	capture_begin(&c);
	cache_free(blocks[1]);
	cache_free((char *)blocks[0] + 4);
	cr_assert_eq(capture_end(&c, got, sizeof got), 2, "%s", got);
	cr_assert_not_null(strstr(got, "double free of"));
	cr_assert_not_null(strstr(got, "interior pointer, 4 bytes into a block of 8"));
	cr_assert_neq(granule(blocks[0]), 0, "the block stays");
}

Test(double_free, a_double_free_in_a_handler_is_reported, .init = core_start, .signal = SIGABRT)
{
	fill(0, 1, BYTES);
	cache_enter(&cache_tls.mags);
	cache_free(blocks[0]);
	cache_free(blocks[0]);
}

/* --- at the same instant --- */

/* As two threads do that see the block allocated at the same instant. */
static void *free_at_the_same_instant(void *p)
{
	set_granule(p, sizeclass_of(BYTES));
	cache_free(p);
	cache_empty_own();
	cache_detach();
	return NULL;
}

static bool is_told_of_a_double_free(const char *got, const void *p)
{
	char wanted[100];

	snprintf(wanted, sizeof wanted, "double free of %p in free()\n", p);
	return strstr(got, wanted) != NULL;
}

Test(double_free, two_frees_at_the_same_instant_by_owner_and_stranger, .init = start_and_warn)
{
	struct capture c;
	char got[500];

	fill(0, 2, BYTES);
	capture_begin(&c);
	cache_free(blocks[0]);
	core_in_thread(free_at_the_same_instant, blocks[0]);
	cache_empty_own();
	scavenge_all();
	cr_assert_not_null(cache_alloc(1000));
	capture_end(&c, got, sizeof got);
	cr_assert(is_told_of_a_double_free(got, blocks[0]), "%s", got);
}

Test(double_free, two_frees_at_the_same_instant_by_strangers, .init = start_and_warn)
{
	struct capture c;
	char got[500];

	fill(0, 2, BYTES);
	capture_begin(&c);
	core_in_thread(free_and_detach, blocks[0]);
	core_in_thread(free_at_the_same_instant, blocks[0]);
	capture_end(&c, got, sizeof got);
	cr_assert(is_told_of_a_double_free(got, blocks[0]), "%s", got);
}

static void *alloc_detached(void *arg)
{
	void *p = cache_alloc(BYTES);

	(void)arg;
	cache_detach();
	return p;
}

Test(double_free, a_double_free_in_a_span_of_nobody_is_reported, .init = start_and_warn)
{
	struct capture c;
	char got[500];
	void *keep = core_in_thread(alloc_detached, NULL), *p = central_alloc(sizeclass_of(BYTES));

	set_granule(p, sizeclass_of(BYTES));
	capture_begin(&c);
	cache_free(p);
	cache_empty_own();                      /* to central, where it is harvested */
	central_tidy(false);
	core_in_thread(free_at_the_same_instant, p);
	scavenge_all();
	cr_assert_not_null(cache_alloc(1000));
	cr_assert_not_null(central_alloc(sizeclass_of(BYTES)));
	capture_end(&c, got, sizeof got);
	cr_assert(is_told_of_a_double_free(got, p), "%s", got);
	cr_assert_not_null(keep);
}
