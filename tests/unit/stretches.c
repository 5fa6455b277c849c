/* stretches.c: disjoint stretches, against an array of all addresses. */
#include <criterion/criterion.h>

#include "tests/check.h"
#include "tests/core.h"

#include "scan/stretches.h"

enum { ADDRESSES = 512, NODES = 100, STEPS = 200000 };

static struct stretch node[NODES], *root, *owner[ADDRESSES];
static unsigned depth_max;

/* H1 and H2; how many nodes. */
static unsigned verify(const struct stretch *s, uintptr_t from, uintptr_t to, uint64_t priority, unsigned depth)
{
	if (!s)
		return 0;
	depth_max = depth > depth_max ? depth : depth_max;
	cr_assert(s->from >= from && s->to <= to && s->priority <= priority);
	return 1 + verify(s->left, from, s->from, s->priority, depth + 1)
	       + verify(s->right, s->to, to, s->priority, depth + 1);
}

static void own(struct stretch *s, struct stretch *by)
{
	for (uintptr_t p = s->from; p < s->to; p++)
		owner[p] = by;
}

static bool is_in(const struct stretch *s)
{
	return s->to && owner[s->from] == s;
}

static void add(struct stretch *s, uintptr_t from, uintptr_t to)
{
	struct stretch *former;

	while ((former = stretches_find(root, from, to))) {
		cr_assert(former->from < to && from < former->to && is_in(former));
		stretches_remove(&root, former);
		own(former, NULL);
	}
	for (uintptr_t p = from; p < to; p++)
		cr_assert_null(owner[p]);
	*s = (struct stretch){ .from = from, .to = to };
	stretches_add(&root, s);
	own(s, s);
}

Test(stretches, are_found_by_any_address_in_them)
{
	uint64_t rng = seed_from_env();

	for (unsigned step = 0; step < STEPS; step++) {
		struct stretch *s = &node[next_random(&rng) % NODES];
		uintptr_t p = next_random(&rng) % ADDRESSES, nbytes = 1 + next_random(&rng) % 20;
		unsigned n = 0;

		if (is_in(s)) {
			stretches_remove(&root, s);
			own(s, NULL);
		} else if (p + nbytes <= ADDRESSES) {
			add(s, p, p + nbytes);
		}
		p = next_random(&rng) % ADDRESSES;
		cr_assert_eq(stretches_find(root, p, p + 1), owner[p], "step %u", step);
		for (unsigned i = 0; i < NODES; i++)
			n += is_in(&node[i]);
		cr_assert_eq(verify(root, 0, ADDRESSES, UINT64_MAX, 1), n, "step %u", step);
	}
}

/* As stacks come: one below the other, all of a size. */
Test(stretches, in_order_do_not_make_a_list)
{
	enum { MANY = 20000 };
	static struct stretch many[MANY];

	for (uintptr_t i = 0; i < MANY; i++) {
		many[i].from = 0x7f0000000000 - i * 0x11000;
		many[i].to = many[i].from + 0x11000;
		stretches_add(&root, &many[i]);
	}
	cr_assert_eq(verify(root, 0, UINTPTR_MAX, UINT64_MAX, 1), MANY);
	cr_assert_leq(depth_max, 60);           /* at best 15 */
}
