/* mmap_readonly.c: held by a mapping that was filled and then protected against writing.
 *
 * leaks: none
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
	CHECK(mprotect(pool, 65536, PROT_READ) == 0);
	return 0;
}
