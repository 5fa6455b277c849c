/* quick_exit.c: ends by quick_exit, with another status.
 *
 * leaks: direct 48/1 lose
 * status: 7
 */
#include "tests/corpus/corpus.h"

static NOINLINE void lose(void)
{
	block(48);
}

int main(void)
{
	apart(lose);
	quick_exit(7);
}
