/* realloc_past_end.c: held by a pointer just past the end, after realloc() left a large block where it
 * is, with as many bytes as its pages have.
 *
 * leaks: none
 */
#include "tests/corpus/corpus.h"

HOLDER char *held;

static NOINLINE void keep(void)
{
	char *p = block(40000);

	held = (char *)hide(realloc(p, 40960)) + 40960;
}

int main(void)
{
	apart(keep);
	return 0;
}
