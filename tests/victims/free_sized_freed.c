/* free_sized_freed.c: free_sized of a freed block, with the right size.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: double free of 0x[0-9a-f]+ in free_sized\(\)
 */
#include "tests/victims/victims.h"

int main(void)
{
	void (*free_sized)(void *, size_t) = (void (*)(void *, size_t))symbol("free_sized");
	char *p = hide(malloc(48));

	free(p);
	misuse_of(p);
	free_sized(p, 48);
	return survived();
}
