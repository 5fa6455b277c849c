/* realloc_freed_to_zero.c: realloc(p, 0) of a freed block.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: double free of 0x[0-9a-f]+ in realloc\(\)
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide(malloc(48));

	free(p);
	misuse_of(p);
	p = hide(realloc(p, hide_size(0)));
	return survived();
}
