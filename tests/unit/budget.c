/* budget.c: what is counted, and when the collector hears of it. */
#include <criterion/criterion.h>

#include "core/budget.h"
#include "tests/core.h"

static unsigned nspent;
static bool held_anything;

static void spent(const void *caller)
{
	(void)caller;
	nspent++;
	held_anything = lock_held(&heap.lock) || lock_held(&central_lock)
	                || cache_tls.cold_mags == &cache_dummy;
	budget_set(INT64_MAX);
}

static void start(void)
{
	core_start_gc();
	hooks.budget_spent = spent;
}

/* What a program would see: slots in magazines count as taken. */
static uint64_t taken_by(size_t nbytes, unsigned n)
{
	uint64_t before = budget_taken();

	for (unsigned i = 0; i < n; i++)
		core_malloc(nbytes);
	return budget_taken() - before;
}

Test(budget, counts_slots_by_batches, .init = start)
{
	uint64_t nbytes = taken_by(99, 10000);

	cr_assert_geq(nbytes, 10000u * 112);
	cr_assert_leq(nbytes, 10000u * 112 + MAGAZINE_SLOTS * 112);
	cr_assert_eq(budget_put(), 0);
}

Test(budget, counts_pages_of_large_blocks, .init = start)
{
	char *p;

	cr_assert_eq(taken_by(KIB(100), 3), 3u * 13 * PAGE_BYTES);
	p = large_alloc(KIB(800), 1);

	uint64_t taken = budget_taken(), before = budget_put();

	cr_assert_eq(large_resize(p, KIB(400)), p);
	cr_assert_eq(budget_put() - before, KIB(400));
	cr_assert_eq(large_resize(p, KIB(800)), p);
	/* A block that grows gets a power of two. */
	cr_assert_eq(budget_taken() - taken, KIB(1024 - 400));
	cache_free(p);
	cr_assert_eq(budget_put() - before, KIB(400 + 1024));
}

Test(budget, counts_what_is_put_back, .init = start)
{
	void *p[10000];

	for (unsigned i = 0; i < 10000; i++)
		p[i] = core_malloc(99);
	for (unsigned i = 0; i < 10000; i++)
		cache_free(p[i]);
	cache_empty_own();
	cr_assert_eq(budget_put(), budget_taken());
}

Test(budget, counts_single_slots, .init = start)
{
	void *p = central_alloc(sizeclass_of(100));

	cr_assert_eq(budget_taken(), 112);
	cr_assert(spanset_put_remote(p));
	cr_assert_eq(budget_put(), 112);
}

Test(budget, setting_it_changes_no_count, .init = start)
{
	taken_by(99, 1000);
	for (int64_t n = -5; n < 1000000; n = n * 3 + 20) {
		uint64_t taken = budget_taken();

		budget_set(n);
		cr_assert_eq(budget_taken(), taken);
		cr_assert_eq(atomic_load_explicit(&budget_left, memory_order_relaxed), n);
	}
}

Test(budget, the_collector_hears_of_its_end_by_malloc, .init = start)
{
	budget_set(MIB(1));
	taken_by(99, MIB(1) / 112 - MAGAZINE_SLOTS);
	cr_assert_eq(nspent, 0);
	taken_by(99, 2 * MAGAZINE_SLOTS);
	cr_assert_eq(nspent, 1);
	cr_assert(!held_anything);
}

Test(budget, and_by_free, .init = start)
{
	void *p[1000];

	for (unsigned i = 0; i < 1000; i++)
		p[i] = core_malloc(99);
	budget_set(-1);
	for (unsigned i = 0; i < 1000; i++)
		cache_free(p[i]);
	cr_assert_eq(nspent, 1);
	cr_assert(!held_anything);
}

Test(budget, without_a_collector_it_never_ends, .init = start)
{
	hooks.budget_spent = NULL;
	budget_set(-1);
	taken_by(99, 10000);
}

Test(budget, other_modes_count_nothing, .init = core_start)
{
	hooks.budget_spent = spent;
	cr_assert_eq(taken_by(99, 10000) + taken_by(KIB(100), 3), 0);
	cr_assert_eq(atomic_load_explicit(&budget_left, memory_order_relaxed), INT64_MAX);
}
