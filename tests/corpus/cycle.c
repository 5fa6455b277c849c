/* cycle.c: a ring of ten, linked both ways: one of them is its head.
 *
 * leaks: direct 64/1 link_in; indirect 576/9 link_in
 */
#include "tests/corpus/corpus.h"

struct node {
	struct node *next, *prev;
	char         payload[48];
};

static NOINLINE struct node *link_in(struct node *ring)
{
	struct node *n = (struct node *)block(sizeof *n);

	n->next = ring ? ring : n;
	n->prev = ring ? ring->prev : n;
	n->prev->next = n;
	n->next->prev = n;
	return n;
}

static NOINLINE void lose(void)
{
	struct node *ring = NULL;

	for (int i = 0; i < 10; i++)
		ring = link_in(ring);
	hide(ring);
}

int main(void)
{
	apart(lose);
	return 0;
}
