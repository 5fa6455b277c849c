/* double_free_aligned.c: a block of memalign freed twice.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: double free of 0x[0-9a-f]+ in free\(\)
 * variants: SIZE=100 | SIZE=5000 | SIZE=100000
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide(aligned_alloc(4096, victim_size(100)));

	free(p);
	misuse_of(p);
	free(p);
	return survived();
}
