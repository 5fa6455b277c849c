/* tree.c: a full binary tree of 63 nodes.
 *
 * leaks: direct 32/1 plant; indirect 1984/62 plant
 */
#include "tests/corpus/corpus.h"

struct node {
	struct node *left, *right;
	size_t       payload[2];
};

static NOINLINE struct node *plant(int depth)
{
	struct node *n = (struct node *)block(sizeof *n);

	n->left = depth > 1 ? plant(depth - 1) : NULL;
	n->right = depth > 1 ? plant(depth - 1) : NULL;
	return n;
}

static NOINLINE void lose(void)
{
	hide(plant(6));
}

int main(void)
{
	apart(lose);
	return 0;
}
