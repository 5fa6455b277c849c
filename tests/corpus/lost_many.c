/* lost_many.c: 100,000 blocks of 16 to 115 bytes from four places.
 *
 * leaks: direct 1637500/25000 lose_a; direct 1637500/25000 lose_b; direct 1637500/25000 lose_c; direct 1637500/25000 lose_d
 */
#include "tests/corpus/corpus.h"

/* The remark keeps compilers from making one function of four. */
#define LOSE(name)                                                                           \
	static NOINLINE void name(size_t i)                                                  \
	{                                                                                    \
		__asm__ volatile("# " #name);                                                \
		block(16 + i % 100);                                                         \
	}

LOSE(lose_a)
LOSE(lose_b)
LOSE(lose_c)
LOSE(lose_d)

static NOINLINE void lose(void)
{
	for (size_t i = 0; i < 25000; i++) {
		lose_a(i);
		lose_b(i);
		lose_c(i);
		lose_d(i);
	}
}

int main(void)
{
	apart(lose);
	return 0;
}
