/* shared_child.c: two lost blocks point to a third; it is indirect, once.
 *
 * leaks: direct 80/2 parents; indirect 32/1 child
 */
#include "tests/corpus/corpus.h"

static NOINLINE void *child(void)
{
	return block(32);
}

static NOINLINE void parents(void)
{
	void **a = (void **)block(40), **b = (void **)block(40);

	a[1] = b[2] = child();
}

int main(void)
{
	apart(parents);
	return 0;
}
