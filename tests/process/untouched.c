/* untouched.c: 100 GiB in one block and in many, never touched: works where the kernel lets a
 * plain mapping of that size pass, and costs next to nothing.
 */
#include "tests/process/process.h"

#include <sys/mman.h>

int main(void)
{
	static char *block[100];
	void *plain = mmap(NULL, 100 * GIB(1), PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t before;
	char *p;

	if (plain == MAP_FAILED)
		SKIP("this kernel does not map 100 GiB");
	munmap(plain, 100 * GIB(1));
	before = rss_bytes();
	p = malloc(hide_size(100 * GIB(1)));
	CHECK(p);
	p[0] = p[100 * GIB(1) - 1] = 1;
	free(p);
	for (size_t i = 0; i < COUNT(block); i++) {
		CHECKF((block[i] = malloc(GIB(1))) != NULL, "GiB %zu", i);
		block[i][GIB(1) / 2] = 1;
	}
	CHECKF(rss_bytes() < before + MIB(64), "RSS %zu, then %zu", before, rss_bytes());
	for (size_t i = 0; i < COUNT(block); i++)
		free(block[i]);
	check_heap_works();
	return 0;
}
