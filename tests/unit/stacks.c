/* stacks.c: a stack is kept once, with its frames in order, from the caller on; the unwinder is not
 * called by its own allocations; errno stays.
 */
#include <criterion/criterion.h>

#include "scan/stacks.h"
#include "tests/core.h"

#include <errno.h>
#include <string.h>

static uintptr_t chain[300];
static int nchain, ncalls;
static bool nests;

static int unwind(void **pcs, int max)
{
	int n = nchain < max ? nchain : max;

	ncalls++;
	errno = EINVAL;
	if (nests)
		stacks_take((void *)1, (void *)2);
	memcpy(pcs, chain, (size_t)n * sizeof *chain);
	return n;
}

/* Return addresses 11, 12, ...: two are ours, then the caller's is 13. */
static void start(void)
{
	for (unsigned i = 0; i < 300; i++)
		chain[i] = 11 + i;
	nchain = 6;
	cr_assert(stacks_start(4));
	stacks_unwind_with(unwind);
}

static uint32_t take(uintptr_t function, uintptr_t caller)
{
	return stacks_take((void *)function, (void *)caller);
}

static void expect(uint32_t stack, const uintptr_t *frames, unsigned n)
{
	const uintptr_t *pcs = NULL;

	cr_assert_eq(stacks_get(stack, &pcs), n);
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(pcs[i], frames[i], "%u: %zu", i, pcs[i]);
}

TestSuite(stacks, .init = start);

Test(stacks, begin_with_the_function_and_its_caller)
{
	expect(take(1000, 13), (uintptr_t[]){ 1000, 13, 14, 15, 16 }, 5);
}

Test(stacks, are_cut_at_the_depth)
{
	nchain = 300;
	expect(take(1000, 13), (uintptr_t[]){ 1000, 13, 14, 15, 16 }, 5);
}

Test(stacks, have_one_caller_where_the_unwinder_does_not_find_it)
{
	expect(take(1000, 77), (uintptr_t[]){ 1000, 77 }, 2);
	nchain = 0;
	expect(take(1000, 13), (uintptr_t[]){ 1000, 13 }, 2);
}

Test(stacks, end_before_null)
{
	chain[5] = 0;
	expect(take(1000, 13), (uintptr_t[]){ 1000, 13, 14, 15 }, 4);
}

Test(stacks, are_kept_once)
{
	uint32_t first = take(1000, 13);
	uint32_t n = stacks_count();

	cr_assert_eq(take(1000, 13), first);
	cr_assert_eq(stacks_count(), n);
	cr_assert_neq(take(1001, 13), first);
	cr_assert_eq(stacks_count(), n + 1, "frames are kept once as well");
	chain[5]++;
	cr_assert_neq(take(1000, 13), first);
	cr_assert_eq(stacks_count(), n + 1 + 4);
}

Test(stacks, numbers_of_outer_frames_are_no_stacks)
{
	const uintptr_t *pcs;
	uint32_t stack = take(1000, 13);

	for (uint32_t i = 0; i < stacks_count(); i++)
		cr_assert_eq(stacks_get(i, &pcs), i == stack ? 5 : 0);
}

Test(stacks, are_told_apart_by_each_of_many_functions)
{
	uint32_t seen[15];

	for (uintptr_t f = 0; f < 15; f++) {
		seen[f] = take(1000 + f, 13);
		expect(seen[f], (uintptr_t[]){ 1000 + f, 13, 14, 15, 16 }, 5);
		for (uintptr_t g = 0; g < f; g++)
			cr_assert_neq(seen[f], seen[g]);
	}
	cr_assert_eq(take(2000, 13), STACKS_NONE, "more than there are");
}

Test(stacks, of_what_the_unwinder_allocates_are_short)
{
	nests = true;
	errno = 5;
	expect(take(1000, 13), (uintptr_t[]){ 1000, 13, 14, 15, 16 }, 5);
	cr_assert_eq(ncalls, 1);
	cr_assert_eq(errno, 5);
}

Test(stacks, that_do_not_exist_have_no_frames)
{
	const uintptr_t *pcs;

	cr_assert_eq(stacks_get(STACKS_NONE, &pcs), 0);
	cr_assert_eq(stacks_get(stacks_count(), &pcs), 0);
	cr_assert_eq(stacks_get(UINT32_MAX, &pcs), 0);
}

Test(stacks, that_do_not_fit_are_counted)
{
	uintptr_t next = 1 << 20;

	nchain = 0;                             /* stacks of two words */
	while (take(1000, next) && next < 4 << 20)
		next++;
	cr_assert_lt(next, 4 << 20);
	cr_assert_gt(stacks_nlost(), 0);
	expect(take(1000, (1 << 20) + 1), (uintptr_t[]){ 1000, (1 << 20) + 1 }, 2);
}
