/* mark.c: workers that mark the same graph share work, mark bits and lists of buffers.
 *
 * Each block is counted by one of them: by whom its bit was set. ThreadSanitizer has to know them:
 * here they are libc's threads.
 */
#include <string.h>

#include "scan/mark.h"
#include "tests/check.h"
#include "tests/core.h"
#include "tests/race/pretend.h"

#define NBLOCKS 30000
#define WORDS 8
#define ROUNDS 12

static uintptr_t *block[NBLOCKS];
static uint64_t rng = 88172645463325252u;

/* All of them are reached: each leads to the next two of a tree, and anywhere. */
static void make_graph(void)
{
	for (size_t i = 0; i < NBLOCKS; i++)
		block[i] = cache_alloc(WORDS * sizeof(uintptr_t));
	for (size_t i = 0; i < NBLOCKS; i++) {
		memset(block[i], 0, WORDS * sizeof(uintptr_t));
		for (unsigned k = 2; k < WORDS; k++)
			block[i][k] = (uintptr_t)block[next_random(&rng) % NBLOCKS];
		for (unsigned k = 1; k <= 2 && 2 * i + k < NBLOCKS; k++)
			block[i][k - 1] = (uintptr_t)block[2 * i + k];
	}
}

int main(void)
{
	core_start();
	make_graph();
	workers_pretend(start, wait);
	for (unsigned round = 0; round < ROUNDS; round++) {
		mark_set_workers(2 + round % 4);
		mark_limit_work(round % 3 ? SIZE_MAX : KIB(64));
		check(mark_start());
		mark_range((uintptr_t)block, (uintptr_t)(block + 1));
		mark_drain();
		check(mark_counts().nblocks == NBLOCKS);
		for (size_t i = 0; i < NBLOCKS; i++)
			check(mark_is_marked((uintptr_t)block[i]));
		mark_end();
	}
	return 0;
}
