/* reallocarray_freed.c: reallocarray of a freed block.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: double free of 0x[0-9a-f]+ in reallocarray\(\)
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide(malloc(48));

	free(p);
	misuse_of(p);
	p = hide(reallocarray(p, 10, 48));
	return survived();
}
