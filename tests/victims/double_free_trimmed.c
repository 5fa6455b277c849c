/* double_free_trimmed.c: freed again after its memory went back to the kernel: nothing is left
 * there that could tell a freed block from one that never was.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: (double free of 0x[0-9a-f]+ in free\(\)|invalid free of 0x[0-9a-f]+ in free\(\): .*)
 * variants: SIZE=48 | SIZE=32768 | SIZE=200000 | SIZE=3000000 | SIZE=150000000
 */
#include "tests/victims/victims.h"

#include <malloc.h>

int main(void)
{
	char *p = hide(malloc(victim_size(48)));

	free(p);
	malloc_trim(0);
	misuse_of(p);
	free(p);
	return survived();
}
