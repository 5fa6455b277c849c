/* realloc_interior.c: realloc of a pointer into a block. glibc: "realloc(): invalid pointer".
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in realloc\(\): interior pointer, 16 bytes into a block of 48 at 0x[0-9a-f]+
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide(calloc(1, 48));

	misuse_of(p + 16);
	CHECK(!hide(realloc(p + 16, 100)));
	return survived();
}
