/* tagged.c: held by pointers with a tag: in the upper 16 bits, and in the lowest three.
 *
 * leaks: none
 */
#include "tests/corpus/corpus.h"

HOLDER uintptr_t held[3];

static NOINLINE void keep(void)
{
	held[0] = (uintptr_t)block(48) | (uintptr_t)0xabcd << HIGH_BITS;
	held[1] = (uintptr_t)block(48) | 7;
	held[2] = (uintptr_t)block(3000000) | (uintptr_t)0xffff << HIGH_BITS;
}

int main(void)
{
	apart(keep);
	return 0;
}
