/* double_free_cleared.c: freed again after its contents were overwritten with zeros. glibc
 * keeps its key in the freed block and misses this.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: double free of 0x[0-9a-f]+ in free\(\)
 * variants: SIZE=16 | SIZE=48 | SIZE=4096
 */
#include "tests/victims/victims.h"

int main(void)
{
	size_t nbytes = victim_size(48);
	char *p = hide(malloc(nbytes));

	free(p);
	memset(hide(p), 0, nbytes);
	misuse_of(p);
	free(p);
	return survived();
}
