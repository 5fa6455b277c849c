/* overwritten.c: a variable held one block, then another.
 *
 * leaks: direct 100/1 first
 */
#include "tests/corpus/corpus.h"

HOLDER void *held;

static NOINLINE void first(void)
{
	held = block(100);
}

static NOINLINE void second(void)
{
	held = block(200);
}

int main(void)
{
	apart(first);
	apart(second);
	return 0;
}
