/* usable_size_interior.c: malloc_usable_size of a pointer into a block.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid (free|pointer|size query) of 0x[0-9a-f]+ in malloc_usable_size\(\): interior pointer, 16 bytes into a block of 48 at 0x[0-9a-f]+
 */
#include "tests/victims/victims.h"

#include <malloc.h>

int main(void)
{
	char *p = hide(calloc(1, 48));

	misuse_of(p + 16);
	CHECK(malloc_usable_size(p + 16) == 0);
	return survived();
}
