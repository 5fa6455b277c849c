/* behind_end.c: an address behind what was asked for, in the space that rounding left, is no pointer to
 * the block: perl keeps addresses before its blocks, which are behind others. One past the end is.
 * leaks: direct 40/1 lose
 */
#include "tests/corpus/corpus.h"

static char *volatile at_end, *volatile behind;

static NOINLINE void lose(void)
{
	behind = (char *)block(40) + 46;
	at_end = (char *)block(38) + 38;
}

int main(void)
{
	apart(lose);
	return 0;
}
