/* past_end.c: held by pointers just past the end, as an iterator's end() is. Sizes of whole slots
 * and not.
 *
 * leaks: none
 */
#include "tests/corpus/corpus.h"

HOLDER char *held[5];

static NOINLINE void keep(void)
{
	static const size_t nbytes[] = { 16, 48, 100, 4096, 1 << 20 };

	for (size_t i = 0; i < sizeof nbytes / sizeof *nbytes; i++)
		held[i] = (char *)block(nbytes[i]) + nbytes[i];
}

int main(void)
{
	apart(keep);
	return 0;
}
