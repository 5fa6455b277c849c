/* double_free_after_100.c: freed again after 100 others of its class, so that it has left
 * every short list of recent frees. glibc misses this or stops it late. The page run it stood
 * in may be free as a whole by then.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: (double free of 0x[0-9a-f]+ in free\(\)|invalid free of 0x[0-9a-f]+ in free\(\): free memory.*)
 * variants: SIZE=16 | SIZE=48 | SIZE=1032 | SIZE=32768 | SIZE=200000
 */
#include "tests/victims/victims.h"

int main(void)
{
	static char *other[100];
	size_t nbytes = victim_size(48);
	char *p = hide(malloc(nbytes));

	for (size_t i = 0; i < COUNT(other); i++)
		other[i] = hide(malloc(nbytes));
	free(p);
	for (size_t i = 0; i < COUNT(other); i++)
		free(other[i]);
	misuse_of(p);
	free(p);
	return survived();
}
