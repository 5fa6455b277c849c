/* brk.c: held by memory that the program took with sbrk.
 *
 * leaks: none
 */
#include "tests/corpus/corpus.h"

HOLDER void **taken;

static NOINLINE void keep(void)
{
	taken[0] = block(48);
	taken[1000] = block(480);
}

int main(void)
{
	taken = (void **)sbrk(65536);
	CHECK(taken != (void **)-1);
	apart(keep);
	return 0;
}
