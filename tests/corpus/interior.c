/* interior.c: held by pointers inside only: next to the beginning, in the middle, at the last byte.
 *
 * leaks: none
 */
#include "tests/corpus/corpus.h"

HOLDER char *held[6];

static NOINLINE void keep(void)
{
	held[0] = (char *)block(48) + 1;
	held[1] = (char *)block(48) + 24;
	held[2] = (char *)block(48) + 47;
	held[3] = (char *)block(20000) + 19999;
	held[4] = (char *)block(2000000) + 1000001;
	held[5] = (char *)block(2000000) + 1999999;
}

int main(void)
{
	apart(keep);
	return 0;
}
