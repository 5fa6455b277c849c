/* memalign.c: memalign, aligned_alloc, posix_memalign: alignments to 64 MiB and beyond.
 *
 * variants: SPANGC_MADVISE=dontneed | SPANGC_MIN_ALIGN=8 | SPANGC_RELEASE_DELAY=0
 */
#include "tests/check.h"

#include <malloc.h>

static void *by_posix(size_t alignment, size_t nbytes)
{
	void *p = NULL;

	if (alignment < sizeof(void *))
		return memalign(alignment, nbytes);
	CHECK(posix_memalign(&p, alignment, nbytes) == 0);
	return p;
}

/* Several at once, whose patterns must not meet. */
static void blocks(void *(*allocate)(size_t, size_t), size_t alignment, size_t nbytes)
{
	unsigned char *block[3];
	size_t usable[3];

	for (size_t i = 0; i < COUNT(block); i++) {
		block[i] = allocate(alignment, hide_size(nbytes));
		CHECKF(block[i], "alignment %zu, %zu bytes", alignment, nbytes);
		CHECKF((uintptr_t)block[i] % alignment == 0, "alignment %zu, %zu bytes: %p",
		       alignment, nbytes, (void *)block[i]);
		usable[i] = malloc_usable_size(block[i]);
		CHECK(usable[i] >= nbytes);
		usable[i] = usable[i] < MIB(1) ? usable[i] : nbytes;
		pattern_fill(block[i], usable[i], i);
	}
	for (size_t i = 0; i < COUNT(block); i++) {
		CHECK(pattern_holds(block[i], usable[i], i));
		free(block[i]);
	}
}

static void every_alignment(void *(*allocate)(size_t, size_t))
{
	static const size_t sizes[] = { 0, 1, 15, 16, 17, 63, 64, 65, 500, 1000, 4095, 4096, 4097,
		8192, 8193, 32768, 32769, 100000 };

	for (size_t alignment = 1; alignment <= MIB(256); alignment *= 2)
		for (size_t i = 0; i < COUNT(sizes); i++)
			if (alignment <= MIB(2) || i % 6 == 1)
				blocks(allocate, alignment, sizes[i]);
}

static void rounded_up(void)
{
	char *p = memalign(48, 10);

	CHECK(p && (uintptr_t)p % 64 == 0);
	free(p);
	p = memalign(5000, 10);
	CHECK(p && (uintptr_t)p % 8192 == 0);
	free(p);
	p = memalign(hide_size(0), 10);
	CHECK(p);
	free(p);
}

static void memalign_refused(size_t alignment, size_t nbytes, int why)
{
	errno = 0;
	CHECKF(!hide(memalign(hide_size(alignment), hide_size(nbytes))), "%zu %zu", alignment,
	       nbytes);
	CHECKF(errno == why, "memalign(%zu, %zu): errno %d", alignment, nbytes, errno);
}

static void aligned_alloc_refused(size_t alignment, size_t nbytes, int why)
{
	errno = 0;
	CHECKF(!hide(aligned_alloc(hide_size(alignment), hide_size(nbytes))), "%zu %zu", alignment,
	       nbytes);
	CHECKF(errno == why, "aligned_alloc(%zu, %zu): errno %d", alignment, nbytes, errno);
}

static void posix_refused(size_t alignment, size_t nbytes, int why)
{
	void *const untouched = (void *)(uintptr_t)0x1234567;
	void *p = untouched;

	CHECKF(posix_memalign(&p, hide_size(alignment), hide_size(nbytes)) == why,
	       "posix_memalign(%zu, %zu)", alignment, nbytes);
	CHECK(p == untouched);
}

static void refusals(void)
{
	memalign_refused(SIZE_MAX / 2 + 2, 1, EINVAL);
	memalign_refused(SIZE_MAX, 1, EINVAL);
	memalign_refused(64, SIZE_MAX, ENOMEM);
	memalign_refused(64, (size_t)PTRDIFF_MAX + 1, ENOMEM);
	memalign_refused(64, SIZE_MAX - 64, ENOMEM);
	memalign_refused(MIB(64), (size_t)PTRDIFF_MAX - MIB(1), ENOMEM);
	memalign_refused(SIZE_MAX / 2 + 1, 1, ENOMEM);
	aligned_alloc_refused(0, 1, EINVAL);
	aligned_alloc_refused(3, 3, EINVAL);
	aligned_alloc_refused(48, 48, EINVAL);
	aligned_alloc_refused(64, SIZE_MAX, ENOMEM);
	posix_refused(0, 1, EINVAL);
	posix_refused(1, 1, EINVAL);
	posix_refused(4, 1, EINVAL);
	posix_refused(24, 1, EINVAL);
	posix_refused(100, 1, EINVAL);
	posix_refused(64, SIZE_MAX, ENOMEM);
	posix_refused(64, (size_t)PTRDIFF_MAX + 1, ENOMEM);
	posix_refused(SIZE_MAX / 2 + 1, 1, ENOMEM);
}

int main(void)
{
	int (*twin)(void **, size_t, size_t) =
		(int (*)(void **, size_t, size_t))symbol("__posix_memalign");
	void *p = NULL;

	every_alignment(memalign);
	every_alignment(aligned_alloc);
	every_alignment(by_posix);
	rounded_up();
	refusals();
	errno = 1234;
	free(hide(aligned_alloc(64, 65)));      /* the size need not be a multiple */
	CHECK(errno == 1234);
	CHECK(twin(&p, 4096, 1) == 0 && (uintptr_t)p % 4096 == 0);
	CHECK(twin(&p, 3, 1) == EINVAL);
	free(p);
	check_heap_works();
	return 0;
}
