/* never_allocated_page.c: far beyond anything allocated, inside the heap's address range.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): (never allocated|not from this heap).*
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide(malloc(1024));

	misuse_of(p + MIB(48));
	free(p + MIB(48));
	return survived();
}
