/* large.c: lost blocks beyond all size classes; the largest one is hardly touched.
 *
 * leaks: direct 40000/1 lose; direct 1048576/1 lose_mib; direct 104857600/1 lose_huge
 */
#include "tests/corpus/corpus.h"

static NOINLINE void lose(void)
{
	block(40000);
}

static NOINLINE void lose_mib(void)
{
	block(1 << 20);
}

static NOINLINE void lose_huge(void)
{
	hide(malloc(100 << 20));
}

int main(void)
{
	apart(lose);
	apart(lose_mib);
	apart(lose_huge);
	return 0;
}
