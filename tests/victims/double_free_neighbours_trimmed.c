/* double_free_neighbours_trimmed.c: all blocks of its span freed and given back, then this one
 * again.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: (double free of 0x[0-9a-f]+ in free\(\)|invalid free of 0x[0-9a-f]+ in free\(\): .*)
 * env: SPANGC_RELEASE_DELAY=0
 */
#include "tests/victims/victims.h"

#include <malloc.h>

int main(void)
{
	static char *block[2000];

	for (size_t i = 0; i < COUNT(block); i++)
		block[i] = hide(malloc(48));
	for (size_t i = 0; i < COUNT(block); i++)
		free(block[i]);
	malloc_trim(0);
	misuse_of(block[1000]);
	free(block[1000]);
	return survived();
}
