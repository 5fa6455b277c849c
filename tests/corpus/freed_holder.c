/* freed_holder.c: a block that was freed holds nothing, though its bytes may still be there.
 *
 * leaks: direct 48/1 lose
 */
#include "tests/corpus/corpus.h"

HOLDER void *held;

static NOINLINE void lose(void)
{
	void **holder = (void **)block(480);

	holder[30] = block(48);
	held = holder;
	free(holder);
}

int main(void)
{
	apart(lose);
	return 0;
}
