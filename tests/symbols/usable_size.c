/* usable_size.c: malloc_usable_size: 0 for NULL, else at least the request, the same each time
 * it is asked, and all of it the block's own.
 *
 * variants: SPANGC_MADVISE=dontneed | SPANGC_MIN_ALIGN=8
 */
#include "tests/check.h"

#include <malloc.h>

int main(void)
{
	uint64_t random = seed_from_env();
	static unsigned char *block[500];

	errno = 1234;
	CHECK(malloc_usable_size(NULL) == 0);
	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i < COUNT(block); i++) {
			size_t nbytes = random_size(&random);
			block[i] = i % 7 ? malloc(nbytes) : memalign(256, nbytes);
			CHECK(block[i] && malloc_usable_size(block[i]) >= nbytes);
			pattern_fill(block[i], malloc_usable_size(block[i]), i);
		}
		for (size_t i = 0; i < COUNT(block); i++) {
			CHECK(pattern_holds(block[i], malloc_usable_size(block[i]), i));
			free(block[i]);
		}
	}
	CHECK(errno == 1234);
	return 0;
}
