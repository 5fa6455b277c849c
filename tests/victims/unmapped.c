/* unmapped.c: an address where nothing is mapped: looking at it must not crash.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): not from this heap.*
 */
#include "tests/victims/victims.h"

#include <sys/mman.h>

int main(void)
{
	char *p = mmap(NULL, MIB(1), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED && munmap(p, MIB(1)) == 0);
	misuse_of(p + 4096);
	free(hide(p + 4096));
	return survived();
}
