/* mmap_unmapped.c: the mapping that held it is gone.
 *
 * leaks: direct 48/1 keep
 */
#include <sys/mman.h>

#include "tests/corpus/corpus.h"

HOLDER void **pool;

static NOINLINE void keep(void)
{
	pool[0] = block(48);
}

int main(void)
{
	pool = (void **)mmap(NULL, 65536, PROT_READ | PROT_WRITE,
	                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(pool != MAP_FAILED);
	apart(keep);
	munmap(pool, 65536);
	return 0;
}
