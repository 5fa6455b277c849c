/* tree_partial.c: of a tree that is held, a branch of 7 nodes was cut off; its nodes point up, to
 * their parents, and so does its first one, to what is held.
 *
 * leaks: direct 32/1 plant; indirect 192/6 plant
 */
#include "tests/corpus/corpus.h"

struct node {
	struct node *left, *right, *up;
	size_t       payload;
};

HOLDER struct node *root;

static NOINLINE struct node *plant(struct node *up, int depth)
{
	struct node *n = (struct node *)block(sizeof *n);

	n->up = up;
	n->left = depth > 1 ? plant(n, depth - 1) : NULL;
	n->right = depth > 1 ? plant(n, depth - 1) : NULL;
	return n;
}

static NOINLINE void cut(void)
{
	root = plant(NULL, 5);
	root->left->right = NULL;
}

int main(void)
{
	apart(cut);
	return 0;
}
