/* realloc_moved.c: the old address of a block that realloc moved is freed.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: double free of 0x[0-9a-f]+ in free\(\)
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide(malloc(48));
	char *q = hide(realloc(p, 5000));

	CHECK(q && q != p);
	misuse_of(p);
	free(p);
	return survived();
}
