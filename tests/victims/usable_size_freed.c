/* usable_size_freed.c: malloc_usable_size of a freed block: the program is about to write there.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: (double free|invalid free|invalid pointer|use after free) of 0x[0-9a-f]+ in malloc_usable_size\(\).*
 */
#include "tests/victims/victims.h"

#include <malloc.h>

int main(void)
{
	char *p = hide(malloc(48));

	free(p);
	misuse_of(p);
	CHECK(malloc_usable_size(p) == 0);
	return survived();
}
