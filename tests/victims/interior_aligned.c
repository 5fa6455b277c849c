/* interior_aligned.c: a program that aligned a block by hand and frees the aligned address.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): interior pointer, [0-9]+ bytes into a block of [0-9]+ at 0x[0-9a-f]+
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide(malloc(1040));
	char *aligned = (char *)(((uintptr_t)p + 16) & ~(uintptr_t)15);

	CHECK(aligned == p + 16);
	misuse_of(aligned);
	free(aligned);
	return survived();
}
