/* destructor.c: one block is freed by the program's destructor, one is lost there.
 *
 * leaks: direct 64/1 lose
 */
#include "tests/corpus/corpus.h"

HOLDER uintptr_t complement;

static NOINLINE void keep(void)
{
	complement = ~(uintptr_t)block(480);
}

static NOINLINE void lose(void)
{
	free((void *)~complement);
	block(64);
}

__attribute__((destructor)) static void end(void)
{
	apart(lose);
}

int main(void)
{
	apart(keep);
	return 0;
}
