/* atexit_argument.c: held only as the argument of a function that libc would call at exit; _exit
 * does not.
 *
 * leaks: none
 */
#include "tests/corpus/corpus.h"

static void at_exit(int status, void *argument)
{
	(void)status;
	free(argument);
}

static NOINLINE void keep(void)
{
	/* More than the record that libc has for a start. */
	for (int i = 0; i < 50; i++)
		CHECK(on_exit(at_exit, block(48)) == 0);
}

int main(void)
{
	apart(keep);
	_exit(0);
}
