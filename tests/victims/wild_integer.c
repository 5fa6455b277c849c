/* wild_integer.c: small and large numbers that never were pointers. None is where a stack may be.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): (NULL page|misaligned pointer|not from this heap).*
 * variants: WILD=1 | WILD=8 | WILD=16 | WILD=4080 | WILD=4096 | WILD=0xdeadbeef | WILD=0x10000000000 | WILD=0x800000800000 | WILD=0x8000000000000000 | WILD=0xdead000000000100 | WILD=0xfffffffffffffff0 | WILD=0xffffffffffffffff
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide((void *)(uintptr_t)strtoull(getenv("WILD"), NULL, 0));

	misuse_of(p);
	free(p);
	return survived();
}
