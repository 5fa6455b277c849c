/* below_block.c: the 16 bytes before a block, where other allocators keep a header.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): .*
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide(malloc(200000));

	misuse_of(p - 16);
	free(p - 16);
	return survived();
}
