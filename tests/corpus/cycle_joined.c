/* cycle_joined.c: a ring that points to another ring has the only head, whichever lies lower.
 *
 * leaks: direct 96/2 ring; indirect 288/6 ring
 */
#include "tests/corpus/corpus.h"

/* Two blocks that point to each other; word 2 is free for use. */
static NOINLINE void **ring(void)
{
	void **a = (void **)block(48), **b = (void **)block(48);

	a[0] = b;
	b[0] = a;
	return a;
}

static NOINLINE void lose(void)
{
	void **from = ring(), **to = ring();

	from[2] = to;
	to = ring();
	from = ring();
	from[2] = to;
}

int main(void)
{
	apart(lose);
	return 0;
}
