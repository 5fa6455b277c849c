/* list.c: a hundred nodes whose first one is lost.
 *
 * leaks: direct 48/1 prepend; indirect 4752/99 prepend
 */
#include "tests/corpus/corpus.h"

struct node {
	struct node *next;
	char         payload[40];
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

	for (int i = 0; i < 100; i++)
		list = prepend(list);
	hide(list);
}

int main(void)
{
	apart(lose);
	return 0;
}
