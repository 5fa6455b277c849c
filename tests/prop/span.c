/* span.c: random histories of one span against one byte a slot. SEED=n repeats one. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "tests/check.h"

#include "core/span.h"

#define BASE UINT64_C(0x10000000)               /* never read: a span only computes addresses */
#define STEPS 20000

enum state { FREE, HELD, REMOTE };

static struct span s;
static uint8_t state[SIZECLASS_MAX_SLOTS];
static uint64_t rng;

static unsigned below(unsigned n)
{
	return (unsigned)(next_random(&rng) >> 16) % n;
}

static unsigned count(enum state which)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s.nslots; i++)
		n += state[i] == which;
	return n;
}

static void take(void)
{
	void *slots[64];
	unsigned want = below(65), nfree = count(FREE);
	unsigned got = span_take(&s, &slots[63], want);

	cr_assert_eq(got, want < nfree ? want : nfree);
	for (unsigned i = 0; i < got; i++) {
		unsigned slot = span_slot(&s, (uintptr_t)slots[63 - i]);

		cr_assert_eq(slots[63 - i], span_slot_address(&s, slot));
		cr_assert_eq(state[slot], FREE, "slot %u handed out again", slot);
		state[slot] = HELD;
	}
}

/* Also slots that are free: they must be refused. Those that wait for harvest would be a double
 * free that only harvest can see: not here. */
static void put(void)
{
	unsigned slot = below(s.nslots);

	if (state[slot] == REMOTE)
		return;
	cr_assert_eq(span_put(&s, slot), state[slot] == HELD);
	state[slot] = FREE;
}

static void put_range(void)
{
	unsigned first = below(s.nslots), n = 1 + below(s.nslots - first);
	bool was_free[SIZECLASS_MAX_SLOTS] = { false }, is_sound = true;

	for (unsigned i = first; i < first + n; i++)
		if (state[i] == REMOTE)
			return;
	for (unsigned i = first; i < first + n; i++) {
		was_free[i] = state[i] == FREE;
		is_sound &= !was_free[i];
		state[i] = FREE;
	}

	int twice = span_put_range(&s, first, n);

	cr_assert_eq(twice < 0, is_sound, "%u from %u", n, first);
	cr_assert(twice < 0 || was_free[twice], "%d of %u from %u", twice, n, first);
}

static void put_remote(void)
{
	unsigned word = below(s.nwords);
	uint64_t wanted = next_random(&rng), bits = 0, again = 0;

	for (unsigned i = word * 64; i < s.nslots && i < word * 64 + 64; i++) {
		if (!(wanted >> i % 64 & 1) || state[i] == FREE)
			continue;
		bits |= UINT64_C(1) << i % 64;
		if (state[i] == REMOTE)
			again |= UINT64_C(1) << i % 64;
		state[i] = REMOTE;
	}
	cr_assert_eq(span_put_remote(&s, word, bits), again);
}

static void harvest(void)
{
	cr_assert_eq(span_has_remote(&s), count(REMOTE) > 0);
	cr_assert_null(span_harvest(&s));
	for (unsigned i = 0; i < s.nslots; i++)
		if (state[i] == REMOTE)
			state[i] = FREE;
}

static void step(void)
{
	switch (below(8)) {
	case 0: case 1: case 2:
		take();
		break;
	case 3: case 4:
		put();
		break;
	case 5:
		put_range();
		break;
	case 6:
		put_remote();
		break;
	default:
		harvest();
	}
	span_verify(&s);
	cr_assert_eq(s.nfree, count(FREE));
}

ParameterizedTestParameters(span, any_history_agrees_with_the_model)
{
	static class_idx classes[] = { 1, 9, 11, 15, 21, 29, 33, 47, 71 };

	return cr_make_param_array(class_idx, classes, sizeof classes / sizeof *classes);
}

ParameterizedTest(class_idx *c, span, any_history_agrees_with_the_model)
{
	rng = seed_from_env();
	span_init(&s, BASE, *c, &sizeclass_set16.class[*c]);
	for (int i = 0; i < STEPS; i++)
		step();
}
