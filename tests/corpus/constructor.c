/* constructor.c: a block is lost before main.
 *
 * leaks: direct 64/1 lose
 */
#include "tests/corpus/corpus.h"

static NOINLINE void lose(void)
{
	block(64);
}

__attribute__((constructor)) static void begin(void)
{
	apart(lose);
}

int main(void)
{
	return 0;
}
