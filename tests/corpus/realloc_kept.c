/* realloc_kept.c: a vector that grows and moves is held by its newest address; what it points to
 * goes with it.
 *
 * leaks: none
 */
#include "tests/corpus/corpus.h"

HOLDER void **held;

static NOINLINE void grow(void)
{
	held = (void **)block(sizeof *held);
	for (size_t n = 1; n <= 50000; n++) {
		held = (void **)hide(realloc(held, n * sizeof *held));
		held[n - 1] = n % 100 ? NULL : block(24);
	}
}

int main(void)
{
	apart(grow);
	return 0;
}
