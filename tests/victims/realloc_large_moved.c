/* realloc_large_moved.c: the old address of a large block that realloc moved away.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: (double free of 0x[0-9a-f]+ in free\(\)|invalid free of 0x[0-9a-f]+ in free\(\): .*)
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide(malloc(MIB(1))), *wall = hide(malloc(MIB(1)));
	char *q = hide(realloc(p, MIB(64)));

	CHECK(wall && q && q != p);
	misuse_of(p);
	free(p);
	return survived();
}
