/* realloc_freed.c: realloc of a freed block. glibc: "realloc(): invalid old size" or nothing.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: double free of 0x[0-9a-f]+ in realloc\(\)
 * variants: SIZE=16 | SIZE=48 | SIZE=1032 | SIZE=32768 | SIZE=200000 | SIZE=3000000
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide(malloc(victim_size(48)));

	free(p);
	misuse_of(p);
	p = hide(realloc(p, 2 * victim_size(48)));
	return survived();
}
