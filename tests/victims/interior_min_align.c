/* interior_min_align.c: with 8-byte granules, 8 bytes into a block are interior too.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): interior pointer, 8 bytes into a block of 48 at 0x[0-9a-f]+
 * env: SPANGC_MIN_ALIGN=8
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide(calloc(1, 48));

	misuse_of(p + 8);
	free(p + 8);
	return survived();
}
