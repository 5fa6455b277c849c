/* cycle_self.c: blocks that point to themselves, to their beginning or inside.
 *
 * leaks: direct 128/2 lose
 */
#include "tests/corpus/corpus.h"

static NOINLINE void lose(void)
{
	void **p = (void **)block(64), **q = (void **)block(64);

	p[3] = p;
	q[0] = &q[5];
}

int main(void)
{
	apart(lose);
	return 0;
}
