/* zero_bytes.c: a block of no bytes is a block.
 *
 * leaks: direct 0/3 lose
 */
#include "tests/corpus/corpus.h"

static NOINLINE void lose(void)
{
	for (int i = 0; i < 3; i++)
		hide(malloc(0));
}

int main(void)
{
	apart(lose);
	return 0;
}
