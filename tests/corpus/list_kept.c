/* list_kept.c: a list that a variable holds by its 50th node: the 49 before it are lost.
 *
 * leaks: direct 48/1 prepend; indirect 2304/48 prepend
 */
#include "tests/corpus/corpus.h"

struct node {
	struct node *next;
	char         payload[40];
};

HOLDER struct node *held;

static NOINLINE struct node *prepend(struct node *list)
{
	struct node *n = (struct node *)block(sizeof *n);

	n->next = list;
	return n;
}

static NOINLINE void lose(void)
{
	struct node *list = NULL;

	for (int i = 0; i < 100; i++) {
		list = prepend(list);
		if (i == 50)
			held = list;
	}
	hide(list);
}

int main(void)
{
	apart(lose);
	return 0;
}
