/* interior_misaligned.c: one byte into a block. glibc: "free(): invalid pointer".
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): (misaligned pointer.*|interior pointer, (1|3|7|8|9) bytes? into a block of [0-9]+ at 0x[0-9a-f]+)
 * variants: SIZE=48 AT=1 | SIZE=48 AT=8 | SIZE=5000 AT=3 | SIZE=200000 AT=7 | SIZE=3000000 AT=9
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide(calloc(1, victim_size(48)));
	size_t at = strtoull(getenv("AT"), NULL, 0);

	misuse_of(p + at);
	free(p + at);
	return survived();
}
