/* stack.c: a local array. glibc: "free(): invalid pointer" or "munmap_chunk(): invalid pointer".
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): stack address.*
 */
#include "tests/victims/victims.h"

int main(void)
{
	_Alignas(16) char local[64] = { 0 };
	char *p = hide(local);

	misuse_of(p);
	free(p);
	return survived();
}
