/* list_appended.c: the same, but each node was allocated after the one that points to it.
 *
 * leaks: direct 48/1 append; indirect 4752/99 append
 */
#include "tests/corpus/corpus.h"

struct node {
	struct node *next;
	char         payload[40];
};

static NOINLINE struct node *append(struct node *last)
{
	struct node *n = (struct node *)block(sizeof *n);

	if (last)
		last->next = n;
	return n;
}

static NOINLINE void lose(void)
{
	struct node *last = NULL;

	for (int i = 0; i < 100; i++)
		last = append(last);
	hide(last);
}

int main(void)
{
	apart(lose);
	return 0;
}
