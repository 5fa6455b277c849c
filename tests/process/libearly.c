/* libearly.c: a preloaded library whose constructor allocates before anyone else's. */
#include "tests/check.h"

void *early_block[64];                  /* exported to early.c */

__attribute__((constructor(101))) static void allocate_early(void)
{
	for (size_t i = 0; i < COUNT(early_block); i++) {
		early_block[i] = malloc(i * 100 + 1);
		if (early_block[i])
			pattern_fill(early_block[i], i * 100 + 1, i);
	}
}
