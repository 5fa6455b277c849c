/* double_free_min_align.c: with 8-byte slots too.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: double free of 0x[0-9a-f]+ in free\(\)
 * env: SPANGC_MIN_ALIGN=8
 * variants: SIZE=1 | SIZE=8 | SIZE=16 | SIZE=24
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide(malloc(victim_size(8)));

	free(p);
	misuse_of(p);
	free(p);
	return survived();
}
