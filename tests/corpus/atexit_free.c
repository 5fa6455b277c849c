/* atexit_free.c: held until the exit and freed then, by functions of atexit and on_exit: no leak,
 * if one looks late enough.
 *
 * leaks: none
 */
#include "tests/corpus/corpus.h"

HOLDER uintptr_t complement;

static NOINLINE void free_it(void)
{
	free((void *)~complement);
}

static void at_exit(int status, void *argument)
{
	(void)status;
	free(argument);
}

static NOINLINE void keep(void)
{
	/* No pointer: only who waits for these functions knows that this is no leak. */
	complement = ~(uintptr_t)block(480);
	CHECK(atexit(free_it) == 0);
	CHECK(on_exit(at_exit, block(48)) == 0);
}

int main(void)
{
	apart(keep);
	return 0;
}
