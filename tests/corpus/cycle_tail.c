/* cycle_tail.c: a ring that a lost block points to has no head: that block is the direct one.
 *
 * leaks: direct 200/1 enter; indirect 96/2 ring
 */
#include "tests/corpus/corpus.h"

static NOINLINE void **ring(void)
{
	void **a = (void **)block(48), **b = (void **)block(48);

	a[0] = b;
	b[0] = a;
	return a;
}

static NOINLINE void enter(void)
{
	void **way = (void **)block(200);

	way[7] = ring();
}

int main(void)
{
	apart(enter);
	return 0;
}
