/* interior.c: a 16-aligned pointer into a living block.
 * glibc: "free(): invalid pointer" or "free(): invalid size", from what happens to stand there.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): interior pointer, 16 bytes into a block of 48 at 0x[0-9a-f]+
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide(calloc(1, 48));

	misuse_of(p + 16);
	free(p + 16);
	return survived();
}
