/* double_free.c: the same block freed twice in a row, of every kind of size.
 * glibc: "free(): double free detected in tcache 2", above that "double free or corruption (top)"
 * or "(!prev)", and for its mapped blocks a crash in munmap_chunk().
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: double free of 0x[0-9a-f]+ in free\(\)
 * variants: SIZE=0 | SIZE=8 | SIZE=48 | SIZE=1032 | SIZE=32768 | SIZE=200000 | SIZE=3000000 | SIZE=150000000
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide(malloc(victim_size(48)));

	free(p);
	misuse_of(p);
	free(p);
	return survived();
}
