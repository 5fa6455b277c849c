/* longjmp.c: a jump past the frame that would have freed it.
 *
 * leaks: direct 48/1 lose
 */
#include <setjmp.h>

#include "tests/corpus/corpus.h"

static jmp_buf out;

static NOINLINE void lose(void)
{
	void *p = block(48);

	if (hide(&out))
		longjmp(out, 1);
	free(p);
}

static NOINLINE void jump(void)
{
	if (setjmp(out) == 0)
		lose();
}

static NOINLINE void forget(void)
{
	memset(out, 0, sizeof out);
}

int main(void)
{
	apart(jump);
	apart(forget);
	return 0;
}
