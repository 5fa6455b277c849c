/* mmap_private.c: held only by a private anonymous mapping of the program's own, as pools have.
 *
 * leaks: none
 */
#include <sys/mman.h>

#include "tests/corpus/corpus.h"

#define POOL_BYTES (1 << 20)

HOLDER void **pool;

static NOINLINE void keep(void)
{
	pool[0] = block(48);
	pool[1000] = block(480);
	pool[POOL_BYTES / sizeof *pool - 1] = block(4800);
}

int main(void)
{
	pool = (void **)mmap(NULL, POOL_BYTES, PROT_READ | PROT_WRITE,
	                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(pool != MAP_FAILED);
	apart(keep);
	return 0;
}
