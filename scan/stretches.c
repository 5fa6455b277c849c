/* stretches.c: see stretches.h. A treap: a tree ordered by address, and a heap by a priority that is as good
 * as random, so that it is about as deep as a balanced one whatever the order of what comes and goes.
 *
 * Reached from thread_stacks.c. Depends on nothing.
 *
 * Invariants (tests/unit/stretches.c):
 *   H1  what is left of a node is below it in memory, what is right above;
 *   H2  no node's priority is above its parent's.
 */
#include "scan/stretches.h"

#define SPREAD UINT64_C(0x9e3779b97f4a7c15)     /* the golden ratio's bits: neighbours get far apart */

static uint64_t priority_of(uintptr_t from)
{
	uint64_t h = from * SPREAD;

	return (h ^ h >> 32) * SPREAD;
}

/* Where `s` belongs the subtree's root comes to stand below it, split in two. */
void stretches_add(struct stretch **root, struct stretch *s)
{
	struct stretch **at = root, **left = &s->left, **right = &s->right;

	s->priority = priority_of(s->from);
	while (*at && (*at)->priority >= s->priority)
		at = s->from < (*at)->from ? &(*at)->left : &(*at)->right;

	struct stretch *t = *at;

	*at = s;
	while (t) {
		struct stretch ***side = t->from < s->from ? &left : &right;

		**side = t;
		*side = t->from < s->from ? &t->right : &t->left;
		t = **side;
	}
	*left = *right = NULL;
}

/* The two below it are merged in its place. */
void stretches_remove(struct stretch **root, struct stretch *s)
{
	struct stretch **at = root, *left = s->left, *right = s->right;

	while (*at != s)
		at = s->from < (*at)->from ? &(*at)->left : &(*at)->right;
	while (left && right) {
		if (left->priority >= right->priority) {
			*at = left;
			at = &left->right;
			left = *at;
		} else {
			*at = right;
			at = &right->left;
			right = *at;
		}
	}
	*at = left ? left : right;
}

struct stretch *stretches_find(struct stretch *root, uintptr_t from, uintptr_t to)
{
	while (root && (to <= root->from || from >= root->to))
		root = to <= root->from ? root->left : root->right;
	return root;
}
