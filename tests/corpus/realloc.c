/* realloc.c: what was grown and shrunk on its way is reported as it was in the end, once, and by
 * who asked for that size.
 *
 * leaks: direct 5000/1 grow; direct 20/1 shrink; direct 300000/1 grow_large
 */
#include "tests/corpus/corpus.h"

static NOINLINE void grow(void)
{
	void *p = block(10);

	for (size_t nbytes = 20; nbytes <= 5000; nbytes += 10)
		p = hide(realloc(p, nbytes));
}

static NOINLINE void shrink(void)
{
	hide(realloc(block(4000), 20));
}

static NOINLINE void grow_large(void)
{
	hide(realloc(block(200000), 300000));
}

int main(void)
{
	apart(grow);
	apart(shrink);
	apart(grow_large);
	return 0;
}
