/* malloc_trim.c: what is free goes back at once, and the return value tells.
 * Nothing else gives it back meanwhile, however long the loops take.
 *
 * env: SPANGC_RELEASE_DELAY=10m
 * variants: SPANGC_MADVISE=dontneed | SPANGC_RELEASE_DELAY=never | SPANGC_BACKGROUND=off
 */
#include "tests/check.h"

#include <malloc.h>

#include "tests/process/process.h"

static void fill_and_free(size_t nbytes, size_t total)
{
	size_t n = total / nbytes;
	char **block = malloc(n * sizeof *block);

	for (size_t i = 0; i < n; i++) {
		CHECK((block[i] = malloc(nbytes)) != NULL);
		memset(block[i], 1, nbytes);
	}
	for (size_t i = 0; i < n; i++)
		free(block[i]);
	free(block);
}

int main(void)
{
	static const size_t sizes[] = { 32, 1000, 20000, 200000, 5000000, 64000000 };

	for (size_t i = 0; i < COUNT(sizes); i++) {
		size_t before = rss_bytes();
		fill_and_free(sizes[i], MIB(64));
		CHECKF(malloc_trim(0) == 1, "blocks of %zu", sizes[i]);
		size_t after = rss_bytes();
		CHECKF(after < before + MIB(6), "blocks of %zu: RSS %zu before, %zu after",
		       sizes[i], before, after);
		for (int n = 0; malloc_trim(0) == 1; n++)
			CHECK(n < 3);           /* nothing is left: it must say so */
	}
	malloc_trim(SIZE_MAX);
	check_heap_works();
	return 0;
}
