/* interior_page.c: a page into a large block: page aligned, and still not its start.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): interior pointer, 8192 bytes into a block of [0-9]+ at 0x[0-9a-f]+
 * variants: SIZE=32768 | SIZE=200000 | SIZE=3000000 | SIZE=150000000
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide(malloc(victim_size(200000)));

	misuse_of(p + 8192);
	free(p + 8192);
	return survived();
}
