/* scavenge.c: what goes back to the kernel, when, and how; what stays. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>

#include "core/live.h"
#include "tests/check.h"
#include "tests/core.h"

static uint64_t counted(_Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static page_idx dirty(void)
{
	return heap.pages.nfree - heap.pages.nclean - heap.pages.nlazy;
}

static bool is_due(void)
{
	return atomic_load_explicit(&scavenge_is_due, memory_order_relaxed);
}

static bool is_help_wanted(void)
{
	return atomic_load_explicit(&scavenge_is_help_wanted, memory_order_relaxed);
}

/* Allocates, fills and frees a large block; where it was. */
static char *dirt(size_t nbytes)
{
	char *p = large_alloc(nbytes, 1);

	cr_assert_not_null(p);
	memset(p, 1, nbytes);
	cache_free(p);
	return p;
}

/* On this occasion what is due is done. */
static void slow_call(void)
{
	scavenge_poll(slow_call);
}

/* os pages of the range that the kernel holds memory for. */
static size_t nresident(const void *p, size_t nbytes)
{
	static unsigned char vec[MIB(64) / OS_PAGE_BYTES];
	size_t n = 0;

	cr_assert_eq(mincore((void *)p, nbytes, vec), 0);
	for (size_t i = 0; i < nbytes / OS_PAGE_BYTES; i++)
		n += vec[i] & 1;
	return n;
}

static void never(void)
{
	knobs.release_delay_ms = KNOB_NEVER;
	core_start();
}

static void start_none(void)
{
	knobs.madvise = KNOB_MADVISE_NONE;
	core_start();
}

static void start_lazy(void)
{
	knobs.madvise = KNOB_MADVISE_FREE;
	core_start();
}

static void start_at_once(void)
{
	knobs.release_delay_ms = 0;
	core_start();
}

/* --- everything now --- */

Test(scavenge, all_that_is_free_goes_back, .init = core_start)
{
	char *p = dirt(MIB(4));

	cr_assert_eq(dirty(), MIB(4) / PAGE_BYTES);
	cr_assert_eq(nresident(p, MIB(4)), MIB(4) / OS_PAGE_BYTES);
	cr_assert_eq(scavenge_all(), MIB(4));
	cr_assert_eq(dirty(), 0);
	cr_assert_eq(heap.pages.nclean, heap.pages.nfree);
	cr_assert_eq(nresident(p, MIB(4)), 0);
	cr_assert_eq(counted(&live.released_bytes), MIB(4));
	cr_assert_eq(counted(&scavenge_counts.ndiscards), 1, "in one run");
	cr_assert_eq(scavenge_all(), 0, "once");
	core_verify();
}

Test(scavenge, lazily_freed_pages_are_counted_apart, .init = start_lazy)
{
	dirt(MIB(4));
	cr_assert_eq(scavenge_all(), MIB(4));
	cr_assert_eq(heap.pages.nlazy, MIB(4) / PAGE_BYTES);
	cr_assert_eq(counted(&scavenge_counts.nlazy), 1);
	cr_assert_eq(counted(&live.lazy_bytes), MIB(4));
	cr_assert_eq(counted(&scavenge_counts.ndiscards), 0);
	cr_assert_eq(scavenge_all(), 0);
}

Test(scavenge, with_none_everything_stays, .init = start_none)
{
	char *p = dirt(MIB(4));

	cr_assert_eq(scavenge_all(), 0);
	cr_assert_eq(dirty(), MIB(4) / PAGE_BYTES);
	cr_assert_eq(nresident(p, MIB(4)), MIB(4) / OS_PAGE_BYTES);
	dirt(MIB(64));
	cr_assert_not(is_due() || is_help_wanted());
}

Test(scavenge, the_state_bytes_of_free_pages_go_too, .init = core_start)
{
	char *p = dirt(MIB(4));
	char *granules = (char *)heap_granule((uintptr_t)p);

	for (size_t i = 0; i < MIB(4) / 16; i++)
		granules[i] = 0;                /* touched, as blocks would have */
	scavenge_all();
	cr_assert_eq(counted(&scavenge_counts.ntable_discards), 1);
	cr_assert_eq(counted(&live.table_bytes), MIB(4) / 16);
	cr_assert_eq(nresident(granules, MIB(4) / 16), 0);
}

Test(scavenge, the_state_bytes_of_neighbours_stay, .init = core_start)
{
	static void *blocks[9000];

	for (unsigned i = 0; i < 9000; i++)
		blocks[i] = cache_alloc(100);
	dirt(PAGE_BYTES * 77);
	for (unsigned i = 0; i < 9000; i++)
		if (i / 1000 % 2)
			cache_free(blocks[i]);
	cache_empty_own();
	scavenge_all();
	for (unsigned i = 0; i < 9000; i++)
		cr_assert_eq(*heap_granule((uintptr_t)blocks[i]) != 0, i / 1000 % 2 == 0);
	core_verify();
}

Test(scavenge, what_the_kernel_refuses_stays_dirty, .init = core_start)
{
	char *p = dirt(MIB(1));

	if (CORE_HAS_ASAN || mlock(p, OS_PAGE_BYTES))
		cr_skip("mlock is not allowed here");
	cr_assert_eq(scavenge_all(), 0);
	cr_assert_gt(counted(&scavenge_counts.nfailed), 0);
	cr_assert_eq(dirty(), MIB(1) / PAGE_BYTES);
	core_verify();
	munlock(p, OS_PAGE_BYTES);
	cr_assert_eq(scavenge_all(), MIB(1));
}

/* --- inside spans --- */

Test(scavenge, os_pages_inside_spans_go_where_no_block_is, .init = core_start)
{
	static char *blocks[4096];

	for (unsigned i = 0; i < 4096; i++) {
		blocks[i] = cache_alloc(1024);
		pattern_fill(blocks[i], 1024, i);
	}
	for (unsigned i = 0; i < 4096; i++)
		if (i % 16)                     /* one in 16 KiB is left */
			cache_free(blocks[i]);
	cache_empty_own();

	size_t nbytes = scavenge_all();

	cr_assert_geq(nbytes, MIB(2));
	cr_assert_leq(nbytes, MIB(3));
	for (unsigned i = 0; i < 4096; i += 16)
		cr_assert(pattern_holds(blocks[i], 1024, i), "block %u", i);
	cr_assert_eq(scavenge_all(), 0, "once");
	for (unsigned i = 0; i < 4096; i++) {
		if (i % 16)
			blocks[i] = cache_alloc(1024);
		pattern_fill(blocks[i], 1024, i + 1);
	}
	for (unsigned i = 0; i < 4096; i++)
		cr_assert(pattern_holds(blocks[i], 1024, i + 1), "block %u", i);
	core_verify();
}

/* --- occasions --- */

Test(scavenge, a_little_dirt_is_no_occasion, .init = start_at_once)
{
	dirt(PAGE_BYTES * 7);
	cr_assert_not(is_due() || is_help_wanted());
}

Test(scavenge, without_delay_a_large_free_gives_back, .init = start_at_once)
{
	char *p = dirt(MIB(1));

	cr_assert_not(is_due());
	cr_assert_eq(dirty(), 0);
	cr_assert_eq(nresident(p, MIB(1)), 0);
}

Test(scavenge, without_delay_the_next_slow_call_gives_back, .init = start_at_once)
{
	struct run run;

	cr_assert(core_take_pages(NULL, 128, 1, &run));
	memset((void *)heap_address(run.first), 1, MIB(1));
	heap_give_pages(NULL, run.first, run.npages, PAGES_DIRTY);
	cr_assert(is_due());
	cr_assert_eq(dirty(), 128);
	slow_call();
	cr_assert_not(is_due());
	cr_assert_eq(dirty(), 0);
	cr_assert_eq(nresident((void *)heap_address(run.first), MIB(1)), 0);
}

Test(scavenge, never_is_never, .init = never)
{
	dirt(MIB(40));
	cr_assert_not(is_due() || is_help_wanted());
	cr_assert_eq(dirty(), MIB(40) / PAGE_BYTES);
	cr_assert_eq(scavenge_all(), MIB(40), "unless malloc_trim asks");
}

Test(scavenge, malloc_trim_looks_into_spans_even_then, .init = never)
{
	static char *blocks[1024];

	for (unsigned i = 0; i < 1024; i++)
		blocks[i] = cache_alloc(1024);
	for (unsigned i = 1; i < 1024; i++)
		if (i % 64)
			cache_free(blocks[i]);
	cache_empty_own();
	cr_assert_geq(scavenge_all(), KIB(700));
}

static int nasked;

static bool refuse(const void *caller)
{
	(void)caller;
	return ++nasked > 1;
}

Test(scavenge, a_helper_is_asked_for_when_much_waits, .init = core_start)
{
	hooks.start_helper = refuse;
	dirt(SCAVENGE_HELPER_BYTES - PAGE_BYTES);
	cr_assert_eq(nasked, 0);
	dirt(SCAVENGE_HELPER_BYTES);
	cr_assert_eq(nasked, 1);
	cr_assert(is_help_wanted(), "it was refused");
	dirt(KIB(400));
	cr_assert_eq(nasked, 2);
	cr_assert_not(is_help_wanted());
	dirt(SCAVENGE_HELPER_BYTES);
	cr_assert_eq(nasked, 2, "it is there");
	scavenge_helper_failed();
	dirt(SCAVENGE_HELPER_BYTES);
	cr_assert_eq(nasked, 3, "it is not");
}

static void *help(void *arg)
{
	scavenge_help();
	return arg;
}

Test(scavenge, the_helper_gives_back_what_is_old_and_leaves)
{
	knobs.release_delay_ms = 50;
	core_start();
	hooks.start_helper = refuse;
	dirt(MIB(20));
	dirt(KIB(400));
	core_in_thread(help, NULL);
	cr_assert_eq(dirty(), 0);
	cr_assert_eq(counted(&scavenge_counts.nhelpers), 1);
	dirt(SCAVENGE_HELPER_BYTES);
	cr_assert_eq(nasked, 3, "another one");
}

Test(scavenge, the_helper_stops_when_asked)
{
	pthread_t helper;

	knobs.release_delay_ms = 3600 * 1000;
	core_start();
	hooks.start_helper = refuse;
	dirt(MIB(20));
	dirt(KIB(400));
	cr_assert_eq(pthread_create(&helper, NULL, help, NULL), 0);
	while (!counted(&scavenge_counts.nrounds))
		sleep_ms(1);
	scavenge_stop_helper();
	pthread_join(helper, NULL);
	cr_assert_eq(dirty(), MIB(20) / PAGE_BYTES, "nothing was old");
}

Test(scavenge, without_a_helper_the_programs_calls_give_back_what_is_old)
{
	knobs.release_delay_ms = 64;
	knobs.background = KNOB_BACKGROUND_OFF;
	core_start();
	dirt(MIB(20));
	for (int i = 0; i < 2000 && dirty() > KIB(400) / PAGE_BYTES; i++) {
		sleep_ms(5);
		/* At the front of the heap, where dirt is made; 64 pages stay young by it. */
		cache_free(large_alloc(KIB(400), 1));
		slow_call();
	}
	cr_assert_leq(dirty(), 128);
	cr_assert_not(is_help_wanted());
}

Test(scavenge, without_a_helper_young_pages_stay)
{
	knobs.release_delay_ms = 3600 * 1000;
	knobs.background = KNOB_BACKGROUND_OFF;
	core_start();
	for (int i = 0; i < 10; i++) {
		dirt(MIB(20));
		sleep_ms(2);
	}
	cr_assert_eq(dirty(), MIB(20) / PAGE_BYTES);
}

Test(scavenge, above_the_memory_limit_free_pages_go_at_once)
{
	knobs.memory_limit_bytes = MIB(12);     /* 1 MiB of records counts too */
	core_start();

	char *p = large_alloc(MIB(8), 1);

	dirt(MIB(1));
	cr_assert_eq(dirty(), MIB(1) / PAGE_BYTES, "below the limit");
	dirt(MIB(6));
	slow_call();
	cr_assert_leq(dirty(), MIB(3) / PAGE_BYTES, "above");
	memset(p, 1, MIB(8));
	cache_free(p);
	slow_call();
	cr_assert_leq(dirty(), MIB(11) / PAGE_BYTES);
	core_verify();
}

static void start_limited(void)
{
	knobs.memory_limit_bytes = MIB(10);
	knobs.release_delay_ms = KNOB_NEVER;    /* does not matter */
	core_start();
}

Test(scavenge, above_the_memory_limit_spans_are_trimmed, .init = start_limited)
{
	static char *blocks[4][4096];

	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 4096; i++) {
			blocks[round][i] = cache_alloc(1024 + 256 * round);
			pattern_fill(blocks[round][i], 1024, i);
			slow_call();
		}
		for (unsigned i = 0; i < 4096; i++)
			if (i % 16)             /* no span becomes free */
				cache_free(blocks[round][i]);
		cache_empty_own();
	}
	dirt(MIB(1));
	slow_call();
	cr_assert_gt(counted(&live.released_bytes), MIB(6));
	cr_assert_gt(counted(&live.trimmed_bytes), MIB(6));
	for (unsigned round = 0; round < 4; round++)
		for (unsigned i = 0; i < 4096; i += 16)
			cr_assert(pattern_holds(blocks[round][i], 1024, i));
	core_verify();
}

Test(scavenge, what_was_trimmed_is_resident_again_when_it_is_used, .init = core_start)
{
	static void *blocks[4096];

	for (unsigned i = 0; i < 4096; i++)
		blocks[i] = cache_alloc(1024);
	for (unsigned i = 0; i < 4096; i++)
		if (i % 16)
			cache_free(blocks[i]);
	cache_empty_own();
	scavenge_all();

	uint64_t trimmed = counted(&live.trimmed_bytes);

	cr_assert_geq(trimmed, MIB(2));
	cr_assert_leq(trimmed, counted(&live.released_bytes));
	scavenge_fork_child();
	cr_assert_eq(counted(&live.released_bytes), 0, "events begin anew");
	cr_assert_eq(counted(&live.trimmed_bytes), trimmed, "what is does not");
	for (unsigned i = 0; i < 2048; i++)
		if (i % 16)
			blocks[i] = cache_alloc(1024);
	cr_assert_lt(counted(&live.trimmed_bytes), trimmed / 4 * 3);
	for (unsigned i = 0; i < 4096; i++)
		if (i < 2048 || i % 16 == 0)
			cache_free(blocks[i]);
	cache_empty_own();
	scavenge_all();
	cr_assert_eq(counted(&live.trimmed_bytes), 0, "in no span");
	core_verify();
}

/* A program above its limit for good: rounds are few, whatever it does. */
Test(scavenge, a_heap_that_outgrows_its_limit_is_not_searched_all_the_time, .init = start_limited)
{
	for (unsigned i = 0; i < 60000; i++) {
		cr_assert(cache_alloc(1024));
		slow_call();
	}
	cr_assert_lt(counted(&scavenge_counts.nrounds), 300);
}

Test(scavenge, much_freed_inside_spans_is_worth_a_helper, .init = core_start)
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
