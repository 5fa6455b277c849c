/* reachable.c: not freed, but a variable points to it.
 *
 * leaks: none
 */
#include "tests/corpus/corpus.h"

HOLDER void *in_bss;
HOLDER void *in_data = &in_bss;

static NOINLINE void keep(void)
{
	void **first = (void **)block(48);

	in_bss = first;
	first[5] = block(4800);
	in_data = block(1 << 20);
}

int main(void)
{
	apart(keep);
	return 0;
}
