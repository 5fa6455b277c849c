/* large_holder.c: pointers at the very ends of large blocks; one of these is held by a pointer into
 * its middle, the other one is lost.
 *
 * leaks: direct 3000000/1 holder; indirect 72/1 last_word
 */
#include "tests/corpus/corpus.h"

#define HOLDER_BYTES 3000000

HOLDER char *held;

static NOINLINE void *last_word(void)
{
	return block(72);
}

static NOINLINE char *holder(void)
{
	char *p = (char *)block(HOLDER_BYTES);

	*(void **)(p + HOLDER_BYTES - sizeof(void *)) = last_word();
	return p;
}

static NOINLINE void make(void)
{
	held = holder() + HOLDER_BYTES / 2;
	hide(holder());
}

int main(void)
{
	apart(make);
	return 0;
}
