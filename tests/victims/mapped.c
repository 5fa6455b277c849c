/* mapped.c: a mapping of the program's own. glibc: "munmap_chunk(): invalid pointer".
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): not from this heap.*
 */
#include "tests/victims/victims.h"

#include <sys/mman.h>

int main(void)
{
	char *p = mmap(NULL, MIB(1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	misuse_of(p + 16);
	free(hide(p + 16));
	return survived();
}
