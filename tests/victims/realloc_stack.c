/* realloc_stack.c: realloc of a local array. glibc: "realloc(): invalid pointer".
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in realloc\(\): stack address.*
 */
#include "tests/victims/victims.h"

int main(void)
{
	_Alignas(16) char local[64] = { 0 };
	char *p = hide(local);

	misuse_of(p);
	CHECK(!hide(realloc(p, 100)));
	return survived();
}
