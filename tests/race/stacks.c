/* stacks.c: threads note the same stacks at once: each is kept once, and whoever has its number reads
 * it whole.
 */
#include "scan/stacks.h"
#include "tests/core.h"

#include <string.h>

#define NTHREADS 4
#define NSTACKS 3000
#define NFRAMES 6

static uint32_t numbers[NTHREADS][NSTACKS];

/* A chain that depends on the caller alone. */
static _Thread_local uintptr_t caller;

static int unwind(void **pcs, int max)
{
	for (int i = 0; i < NFRAMES && i < max; i++)
		pcs[i] = (void *)(caller + (uintptr_t)i);
	return NFRAMES;
}

static void *note_all(void *arg)
{
	uint32_t *mine = arg;

	for (unsigned i = 0; i < NSTACKS; i++) {
		uintptr_t pcs[1 + STACKS_DEPTH_MAX];

		caller = 100 + i * 16;
		mine[i] = stacks_take((void *)1, (void *)caller);
		check(mine[i] != STACKS_NONE);
		check(stacks_read(mine[i], pcs) == 1 + NFRAMES && pcs[0] == 1);
		for (unsigned f = 0; f < NFRAMES; f++)
			check(pcs[1 + f] == caller + f);
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[NTHREADS];

	check(stacks_start(NFRAMES));
	stacks_unwind_with(unwind);
	for (unsigned t = 0; t < NTHREADS; t++)
		check(pthread_create(&threads[t], NULL, note_all, numbers[t]) == 0);
	for (unsigned t = 0; t < NTHREADS; t++)
		check(pthread_join(threads[t], NULL) == 0);
	for (unsigned t = 1; t < NTHREADS; t++)
		check(!memcmp(numbers[t], numbers[0], sizeof numbers[0]));
	check(stacks_count() <= 1 + NSTACKS * NTHREADS * NFRAMES && stacks_nlost() == 0);
	return 0;
}
