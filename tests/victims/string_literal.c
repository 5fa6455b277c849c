/* string_literal.c: read-only data.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): (not from this heap|misaligned pointer).*
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide((void *)(uintptr_t)"a constant");

	misuse_of(p);
	free(p);
	return survived();
}
