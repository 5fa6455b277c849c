/* stack_stale.c: the pointer still stands in main's stack, far below what is in use: dead.
 *
 * leaks: direct 48/1 lose
 */
#include "tests/corpus/corpus.h"

static NOINLINE void lose(void)
{
	void *volatile held[64 << 10];

	for (int i = 0; i < 64; i++)
		held[i] = NULL;
	held[32] = block(48);
	hide((void *)(uintptr_t)held);
	CLEAR_REGISTERS();
}

static NOINLINE void half_apart(void)
{
	char distance[256 << 10];

	hide(distance);
	lose();
	hide(distance);
}

int main(void)
{
	half_apart();
	wipe();
	return 0;
}
