/* lost.c: the only pointer was a local variable.
 *
 * leaks: direct 48/1 lose
 */
#include "tests/corpus/corpus.h"

static NOINLINE void lose(void)
{
	block(48);
}

int main(void)
{
	apart(lose);
	return 0;
}
