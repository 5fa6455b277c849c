/* null_page.c: an offset from a NULL pointer is named as such.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): NULL page.*
 * variants: WILD=16 | WILD=256 | WILD=4080
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide((void *)(uintptr_t)strtoull(getenv("WILD"), NULL, 0));

	misuse_of(p);
	free(p);
	return survived();
}
