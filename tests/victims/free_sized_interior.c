/* free_sized_interior.c: free_sized of a pointer into a block.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free_sized\(\): interior pointer, 16 bytes into a block of 64 at 0x[0-9a-f]+
 */
#include "tests/victims/victims.h"

int main(void)
{
	void (*free_sized)(void *, size_t) = (void (*)(void *, size_t))symbol("free_sized");
	char *p = hide(malloc(64));

	misuse_of(p + 16);
	free_sized(p + 16, 48);
	return survived();
}
