/* central.c: spans without an owner: lent, taken over, tidied; slots for who has no cache. */
#include <criterion/criterion.h>
#include <signal.h>

#include "tests/core.h"

#define C 8
#define NSLOTS 512

static struct spanset ours;

static bool lend(class_idx c)
{
	return central_lend(&ours, c);
}

static void *take_one(class_idx c)
{
	void *slot = NULL;

	cr_assert_eq(spanset_take(&ours, c, &slot, 1), 1);
	return slot;
}

static struct spanset *owner_at(void *slot)
{
	return atomic_load_explicit(&heap_span((uintptr_t)slot)->owner, memory_order_relaxed);
}

Test(central, hands_out_single_slots_each_once, .init = core_start)
{
	for (unsigned i = 0; i < 3 * NSLOTS; i++) {
		unsigned char *slot = central_alloc(C);

		cr_assert_not_null(slot);
		cr_assert_eq(*slot, 0, "slot %u again", i);
		*slot = 1;
		cr_assert_eq(owner_at(slot), &central);
	}
	core_verify();
}

Test(central, slots_freed_to_it_are_used_again, .init = core_start)
{
	void *slots[NSLOTS];

	for (unsigned i = 0; i < NSLOTS; i++)
		slots[i] = central_alloc(C);

	page_idx used = core_used_pages();

	for (unsigned i = 0; i < NSLOTS; i++)
		cr_assert(spanset_put_remote(slots[i]));
	for (unsigned i = 0; i < NSLOTS; i++)
		cr_assert_not_null(central_alloc(C));
	cr_assert_eq(core_used_pages(), used);
}

Test(central, everything_freed_goes_back_when_tidied, .init = core_start)
{
	void *slots[2 * NSLOTS];

	for (unsigned i = 0; i < 2 * NSLOTS; i++)
		slots[i] = central_alloc((class_idx)(1 + i % 60));
	for (unsigned i = 0; i < 2 * NSLOTS; i++)
		cr_assert(spanset_put_remote(slots[i]));
	central_tidy(false);
	cr_assert_eq(core_used_pages(), 0);
}

Test(central, has_nothing_to_lend_at_first, .init = core_start)
{
	for (unsigned c = 1; c < SIZECLASS_LARGE; c++)
		cr_assert_not(lend((class_idx)c));
}

Test(central, lends_the_spans_of_those_who_ended, .init = core_start)
{
	void *slot = take_one(C);

	central_adopt(&ours);
	cr_assert_eq(owner_at(slot), &central);
	cr_assert_not(lend(C + 1), "another class");
	cr_assert(lend(C));
	cr_assert_eq(owner_at(slot), &ours);
	cr_assert_eq(ours.partial[C], heap_span((uintptr_t)slot));
	cr_assert_not(lend(C), "it is gone");
	core_verify();
}

Test(central, lends_what_a_single_allocation_left_partial, .init = core_start)
{
	void *slot = take_one(C);

	central_adopt(&ours);
	cr_assert_not_null(central_alloc(C));
	cr_assert_eq(heap_span((uintptr_t)slot)->place, SPAN_CURRENT);
	cr_assert_not(lend(C), "in use here");
}

Test(central, lends_what_strangers_freed, .init = core_start)
{
	void *slots[NSLOTS + 1];

	for (unsigned i = 0; i <= NSLOTS; i++)
		slots[i] = central_alloc(C);
	cr_assert_not(lend(C), "one full, one in use");
	cr_assert(spanset_put_remote(slots[7]));
	cr_assert(lend(C));
	cr_assert_eq(owner_at(slots[7]), &ours);
	cr_assert_eq(take_one(C), slots[7]);
}

Test(central, does_not_lend_to_itself, .init = core_start)
{
	struct sigmask saved;

	take_one(C);
	central_adopt(&ours);
	sigmask_block(&saved);
	lock_take(&central_lock);
	cr_assert_not(central_lend(&central, C));
	lock_drop(&central_lock);
	sigmask_restore(&saved);
}

Test(central, a_span_in_need_is_found_there_before_new_pages, .init = core_start)
{
	take_one(C);
	central_adopt(&ours);

	page_idx used = core_used_pages();

	take_one(C);
	cr_assert_eq(core_used_pages(), used);
}

Test(central, without_memory_there_is_nothing, .init = core_start)
{
	void *p;

	core_refuse_memory(true);
	p = central_alloc(C);
	core_refuse_memory(false);
	cr_assert_null(p);
	cr_assert_not_null(central_alloc(C));
}

static void count(const struct spanset *set, void *arg)
{
	cr_assert(lock_held(&central_lock));
	*(int *)arg += set == &central;
}

Test(central, is_shown_under_its_lock, .init = core_start)
{
	int n = 0;

	central_visit(count, &n);
	cr_assert_eq(n, 1);
	cr_assert_not(lock_held(&central_lock));
}
