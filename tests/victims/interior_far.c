/* interior_far.c: far into a block, of every kind of size.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): interior pointer, [0-9]+ bytes into a block of [0-9]+ at 0x[0-9a-f]+
 * variants: SIZE=48 | SIZE=1032 | SIZE=32768 | SIZE=200000 | SIZE=3000000 | SIZE=150000000
 */
#include "tests/victims/victims.h"

int main(void)
{
	size_t nbytes = victim_size(48), at = nbytes / 2 & ~(size_t)15;
	char *p = hide(calloc(1, nbytes));

	misuse_of(p + at);
	free(p + at);
	return survived();
}
