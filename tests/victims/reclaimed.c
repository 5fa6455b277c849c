/* reclaimed.c: in mode gc, a block whose address the program kept where nobody can see it, as its
 * complement; the collector reclaims it, and the program frees it after all. Memory stays: what goes back to
 * the kernel takes with it what is known of it.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: free of reclaimed 0x[0-9a-f]+ in free\(\): the collector found no pointer to it
 * env: SPANGC_MODE=gc SPANGC_RELEASE_DELAY=never
 * variants: SIZE=8 | SIZE=1032 | SIZE=200000
 */
#include "tests/victims/victims.h"

#define NBLOCKS 200

static uintptr_t hidden[NBLOCKS];

static __attribute__((noinline)) void make(void)
{
	for (unsigned i = 0; i < NBLOCKS; i++)
		hidden[i] = ~(uintptr_t)malloc(victim_size(48));
}

/* What calls left on the stack is gone. */
static __attribute__((noinline)) void wipe(void)
{
	char stale[20000];

	memset(stale, 0, sizeof stale);
	hide(stale);
}

int main(void)
{
	size_t (*collect)(void) = (size_t (*)(void))symbol("spangc_collect");

	make();
	wipe();
	collect();
	wipe();

	/* An address in the middle: some may still be in a register, or look like a number. */
	void *p = (void *)~hidden[NBLOCKS / 2];

	misuse_of(p);
	free(p);
	return survived();
}
