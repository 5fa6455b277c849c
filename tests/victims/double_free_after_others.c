/* double_free_after_others.c: freed again after another block of its class was freed.
 * glibc: its fastbin check (fasttop) misses this, the key of its tcache finds it.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: double free of 0x[0-9a-f]+ in free\(\)
 * variants: SIZE=0 | SIZE=8 | SIZE=48 | SIZE=1032 | SIZE=32768 | SIZE=200000 | SIZE=3000000 | SIZE=150000000
 */
#include "tests/victims/victims.h"

int main(void)
{
	size_t nbytes = victim_size(48);
	char *p = hide(malloc(nbytes)), *q = hide(malloc(nbytes));

	free(p);
	free(q);
	misuse_of(p);
	free(p);
	return survived();
}
