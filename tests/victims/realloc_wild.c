/* realloc_wild.c: realloc of a number.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in realloc\(\): (NULL page|misaligned pointer|not from this heap).*
 * variants: WILD=1 | WILD=16 | WILD=0xdeadbee0 | WILD=0x8000000000000000 | WILD=0xfffffffffffffff0
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide((void *)(uintptr_t)strtoull(getenv("WILD"), NULL, 0));

	misuse_of(p);
	CHECK(!hide(realloc(p, 100)));
	return survived();
}
