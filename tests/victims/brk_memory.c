/* brk_memory.c: memory that sbrk() gave the program.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): not from this heap.*
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = sbrk(1 << 16);

	CHECK(p != (void *)-1);
	p = (char *)(((uintptr_t)p + 31) & ~(uintptr_t)15);
	misuse_of(p);
	free(hide(p));
	return survived();
}
