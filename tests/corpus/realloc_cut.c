/* realloc_cut.c: the part that held the pointer was cut off.
 *
 * leaks: direct 56/1 lose
 */
#include "tests/corpus/corpus.h"

HOLDER void **held;

static NOINLINE void lose(void)
{
	held = (void **)block(4000);
	held[400] = block(56);
	held = (void **)hide(realloc(held, 16));
}

int main(void)
{
	apart(lose);
	return 0;
}
