/* function.c: the address of a function.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): (not from this heap|misaligned pointer).*
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide((void *)(uintptr_t)main);

	misuse_of(p);
	free(p);
	return survived();
}
