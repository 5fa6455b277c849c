/* deep_stack.c: allocated at the end of 500 calls: the innermost frames tell.
 *
 * leaks: direct 48/1 innermost
 */
#include "tests/corpus/corpus.h"

static NOINLINE void innermost(void)
{
	block(48);
}

static NOINLINE void descend(int depth)
{
	if (depth)
		descend(depth - 1);
	else
		innermost();
	hide(NULL);
}

static NOINLINE void lose(void)
{
	descend(500);
}

int main(void)
{
	apart(lose);
	return 0;
}
