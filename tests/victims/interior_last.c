/* interior_last.c: the last 16 bytes of a block.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): interior pointer, 32 bytes into a block of 48 at 0x[0-9a-f]+
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide(calloc(1, 48));

	misuse_of(p + 32);
	free(p + 32);
	return survived();
}
