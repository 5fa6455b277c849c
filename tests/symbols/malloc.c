/* malloc.c: malloc over all sizes: alignment, usable bytes, no overlap, errno, limits.
 *
 * variants: SPANGC_MADVISE=dontneed | SPANGC_MIN_ALIGN=8 | SPANGC_RELEASE_DELAY=0
 */
#include "tests/check.h"

#include <malloc.h>

static struct {
	unsigned char *block;
	size_t         nbytes;          /* usable */
} ring[64];

/* Anything C can put into n bytes is aligned no more than the largest power of two in n. */
static size_t alignment_due(size_t nbytes)
{
	const char *min = getenv("SPANGC_MIN_ALIGN");

	return min && nbytes % 16 != 0 ? 8 : 16;
}

static void ring_empty(size_t at)
{
	if (!ring[at].block)
		return;
	CHECKF(pattern_holds(ring[at].block, ring[at].nbytes, at), "%zu bytes at %p",
	       ring[at].nbytes, (void *)ring[at].block);
	free(ring[at].block);
	ring[at].block = NULL;
}

static void one_block(size_t nbytes, size_t at)
{
	ring_empty(at);
	errno = 1234;
	ring[at].block = malloc(hide_size(nbytes));
	CHECKF(ring[at].block, "malloc(%zu)", nbytes);
	CHECK(errno == 1234);
	CHECKF((uintptr_t)ring[at].block % alignment_due(nbytes) == 0, "malloc(%zu)", nbytes);
	ring[at].nbytes = malloc_usable_size(ring[at].block);
	CHECKF(ring[at].nbytes >= nbytes, "%zu < %zu", ring[at].nbytes, nbytes);
	pattern_fill(ring[at].block, ring[at].nbytes, at);
}

static void every_size(void)
{
	size_t n = 0;

	for (size_t nbytes = 0; nbytes <= 70000; nbytes += nbytes < 5000 ? 1 : 37)
		one_block(nbytes, n++ % COUNT(ring));
	for (unsigned shift = 12; shift <= 26; shift++)
		for (size_t nbytes = (UINT64_C(1) << shift) - 1, i = 0; i < 3; i++)
			one_block(nbytes + i, n++ % COUNT(ring));
	for (size_t at = 0; at < COUNT(ring); at++)
		ring_empty(at);
}

static void zero_bytes(void)
{
	static char *block[1000];

	for (size_t i = 0; i < COUNT(block); i++) {
		block[i] = malloc(hide_size(0));
		CHECK(block[i]);
		for (size_t j = 0; j < i; j++)
			CHECK(block[i] != block[j]);
	}
	for (size_t i = 0; i < COUNT(block); i++)
		free(block[i]);
}

static void too_large(size_t nbytes)
{
	errno = 0;
	CHECKF(!hide(malloc(hide_size(nbytes))), "malloc(%zu)", nbytes);
	CHECKF(errno == ENOMEM, "malloc(%zu): errno %d", nbytes, errno);
}

/* Whether the kernel has that much is its business; a refusal must say so. */
static void large_untouched(void)
{
	for (unsigned shift = 27; shift < 48; shift++) {
		errno = 0;
		char *p = malloc(hide_size(UINT64_C(1) << shift));
		CHECKF(p || errno == ENOMEM, "1 << %u", shift);
		CHECKF(p || shift > 32, "1 << %u", shift);
		if (p)
			p[0] = p[(UINT64_C(1) << shift) - 1] = 1;
		free(p);
	}
}

int main(void)
{
	every_size();
	zero_bytes();
	for (size_t i = 0; i < 5; i++) {
		too_large((size_t)PTRDIFF_MAX - 2 + i);
		too_large(SIZE_MAX - i);
		too_large(SIZE_MAX - 4096 * i);
	}
	large_untouched();
	check_heap_works();
	return 0;
}
