/* calloc.c: zeros over whatever stood there before, and overflow.
 *
 * variants: SPANGC_MADVISE=dontneed | SPANGC_MADVISE=free | SPANGC_MADVISE=none | SPANGC_MADVISE=dontneed SPANGC_RELEASE_DELAY=0 | SPANGC_MADVISE=free SPANGC_RELEASE_DELAY=0 | SPANGC_MIN_ALIGN=8
 */
#include "tests/check.h"

#include <malloc.h>

/* A few blocks of the size, all usable bytes soiled, freed, and perhaps given back. */
static void soil(size_t nbytes, bool is_trimmed)
{
	static char *block[8];

	for (size_t i = 0; i < COUNT(block); i++) {
		block[i] = malloc(nbytes);
		CHECK(block[i]);
		memset(block[i], 0xa5, malloc_usable_size(block[i]));
	}
	for (size_t i = 0; i < COUNT(block); i++)
		free(block[i]);
	if (is_trimmed)
		malloc_trim(0);
}

static void zero_after_soil(size_t nbytes, bool is_trimmed)
{
	static char *block[8];

	soil(nbytes, is_trimmed);
	for (size_t i = 0; i < COUNT(block); i++) {
		errno = 1234;
		block[i] = calloc(hide_size(nbytes), 1);
		CHECK(block[i] && errno == 1234);
		CHECKF(all_zero(block[i], nbytes), "calloc(%zu), block %zu", nbytes, i);
		memset(block[i], 0x5a, nbytes);
	}
	for (size_t i = 0; i < COUNT(block); i++)
		free(block[i]);
}

static void overflow(size_t n, size_t nbytes)
{
	errno = 0;
	CHECKF(!hide(calloc(hide_size(n), hide_size(nbytes))), "calloc(%zu, %zu)", n, nbytes);
	CHECK(errno == ENOMEM);
}

static void random_history(uint64_t random)
{
	static char *block[200];

	for (int step = 0; step < 20000; step++) {
		size_t i = next_random(&random) % COUNT(block), nbytes = random_size(&random);
		free(block[i]);
		block[i] = calloc(1, nbytes);
		CHECKF(block[i] && all_zero(block[i], nbytes), "step %d", step);
		memset(block[i], 0xff, malloc_usable_size(block[i]));
	}
	for (size_t i = 0; i < COUNT(block); i++)
		free(block[i]);
}

int main(void)
{
	static const size_t sizes[] = { 1, 8, 16, 24, 100, 1000, 4096, 5000, 8192, 32767, 32768,
		32769, 65536, 100000, 1000000, 2097152, 5000000, 20000000 };

	for (int trimmed = 0; trimmed < 2; trimmed++)
		for (size_t i = 0; i < COUNT(sizes); i++)
			zero_after_soil(sizes[i], trimmed);
	random_history(seed_from_env());
	CHECK(hide(calloc(0, 8)) && hide(calloc(8, 0)) && hide(calloc(0, SIZE_MAX)));
	overflow(SIZE_MAX, 2);
	overflow(2, SIZE_MAX);
	overflow(SIZE_MAX / 16 + 1, 16);
	overflow((size_t)1 << 32, (size_t)1 << 32);
	overflow(SIZE_MAX, SIZE_MAX);
	overflow(1, (size_t)PTRDIFF_MAX + 1);
	return 0;
}
