/* realloc_interior_large.c: realloc into a large block. glibc: "mremap_chunk(): invalid pointer".
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in realloc\(\): interior pointer, 65536 bytes into a block of [0-9]+ at 0x[0-9a-f]+
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide(calloc(1, MIB(3)));

	misuse_of(p + 65536);
	CHECK(!hide(realloc(p + 65536, MIB(9))));
	return survived();
}
