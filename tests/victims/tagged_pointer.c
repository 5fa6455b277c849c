/* tagged_pointer.c: a living block's address with a tag in its upper 16 bits.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): not from this heap.*
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide(malloc(48));

	p = hide((void *)((uintptr_t)p | (uintptr_t)0xabcd << 48));
	misuse_of(p);
	free(p);
	return survived();
}
