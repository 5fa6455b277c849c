/* list_long.c: a million nodes: marking must not recurse.
 *
 * leaks: direct 16/1 prepend; indirect 15999984/999999 prepend
 */
#include "tests/corpus/corpus.h"

struct node {
	struct node *next;
	size_t       payload;
};

static NOINLINE struct node *prepend(struct node *list)
{
	struct node *n = (struct node *)block(sizeof *n);

	n->next = list;
	return n;
}

static NOINLINE void lose(void)
{
	struct node *list = NULL;

	for (int i = 0; i < 1000000; i++)
		list = prepend(list);
	hide(list);
}

int main(void)
{
	apart(lose);
	return 0;
}
