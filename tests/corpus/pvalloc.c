/* pvalloc.c: whole pages; one block is held.
 *
 * leaks: direct 4096/1 lose
 */
#include <malloc.h>

#include "tests/corpus/corpus.h"

HOLDER void *held;

static NOINLINE void lose(void)
{
	held = pvalloc(4096);
	hide(pvalloc(4096));
}

int main(void)
{
	apart(lose);
	return 0;
}
