/* realloc.c: contents survive growth and shrinking in all steps; what may and may not move.
 *
 * variants: SPANGC_MADVISE=dontneed | SPANGC_MADVISE=free SPANGC_RELEASE_DELAY=0 | SPANGC_MADVISE=none | SPANGC_MIN_ALIGN=8
 */
#include "tests/check.h"

#include <malloc.h>

/* To `to` bytes; what both sizes hold must be there still, and the rest is filled. */
static unsigned char *resize(unsigned char *p, size_t from, size_t to, size_t tag)
{
	size_t kept = from < to ? from : to;

	errno = 1234;
	p = realloc(p, hide_size(to));
	CHECKF(p, "realloc from %zu to %zu", from, to);
	CHECK(errno == 1234);
	CHECK(malloc_usable_size(p) >= to);
	CHECKF(pattern_holds(p, kept, tag), "realloc from %zu to %zu", from, to);
	for (size_t i = from; i < to; i++)
		p[i] = pattern_byte(tag, i);
	return p;
}

/* Two blocks grow in turn, so that each is in the other's way. */
static void grow(size_t limit, size_t (*next)(size_t))
{
	unsigned char *p = NULL, *q = NULL;
	size_t nbytes = 0;

	while (nbytes < limit) {
		size_t more = next(nbytes);
		p = resize(p, nbytes, more, 1);
		q = resize(q, nbytes, more, 2);
		nbytes = more;
	}
	while (nbytes > 1) {
		size_t less = nbytes * 2 / 3;
		p = resize(p, nbytes, less, 1);
		q = resize(q, nbytes, less, 2);
		nbytes = less;
	}
	free(p);
	free(q);
}

static size_t next_16(size_t nbytes) { return nbytes + 16; }
static size_t next_page(size_t nbytes) { return nbytes + 4096 + 1; }
static size_t next_half(size_t nbytes) { return nbytes + nbytes / 2 + 1; }
static size_t next_double(size_t nbytes) { return nbytes * 2 + 3; }

static void in_place(void)
{
	for (size_t nbytes = 1; nbytes < 300000; nbytes = nbytes * 5 / 4 + 1) {
		char *p = malloc(nbytes);
		CHECK(p);
		for (size_t more = nbytes; more <= malloc_usable_size(p); more++) {
			CHECKF(realloc(p, more) == p, "from %zu to %zu", nbytes, more);
			more += malloc_usable_size(p) / 50;
		}
		CHECK(realloc(p, malloc_usable_size(p)) == p);
		free(p);
	}
}

static void failure_keeps(size_t nbytes)
{
	static const size_t impossible[] = { SIZE_MAX, SIZE_MAX - 4096, (size_t)PTRDIFF_MAX + 1,
		(size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX - 100000 };
	unsigned char *p = resize(NULL, 0, nbytes, 7);

	for (size_t i = 0; i < COUNT(impossible); i++) {
		errno = 0;
		CHECK(!hide(realloc(p, hide_size(impossible[i]))));
		CHECK(errno == ENOMEM);
		CHECK(pattern_holds(p, nbytes, 7));
	}
	free(p);
}

static void special_cases(void)
{
	char *p = realloc(NULL, 100);

	CHECK(p && malloc_usable_size(p) >= 100);
	CHECK(!hide(realloc(p, hide_size(0))));
	p = realloc(NULL, hide_size(0));
	CHECK(p);
	CHECK(!hide(realloc(p, hide_size(0))));
	p = malloc(MIB(5));
	CHECK(!hide(realloc(p, hide_size(0))));
}

/* realloc does not promise the alignment, but must not lose the contents. */
static void aligned_blocks(void)
{
	for (size_t alignment = 32; alignment <= MIB(4); alignment *= 4) {
		unsigned char *p = memalign(alignment, 1000);
		CHECK(p);
		pattern_fill(p, 1000, 9);
		p = resize(p, 1000, 100000, 9);
		p = resize(p, 100000, 10, 9);
		free(p);
	}
}

/* Sizes up and down at random, several blocks at once. */
static void random_history(uint64_t random)
{
	static unsigned char *block[50];
	static size_t size[50];

	for (int step = 0; step < 20000; step++) {
		size_t i = next_random(&random) % COUNT(block);
		size_t nbytes = random_size(&random) << (next_random(&random) % 200 == 0 ? 6 : 0);
		block[i] = resize(block[i], size[i], nbytes, i);
		size[i] = nbytes;
	}
	for (size_t i = 0; i < COUNT(block); i++)
		free(block[i]);
}

int main(void)
{
	grow(20000, next_16);
	grow(MIB(2), next_page);
	grow(MIB(24), next_half);
	grow(MIB(64), next_double);
	in_place();
	for (size_t nbytes = 1; nbytes < MIB(8); nbytes *= 7)
		failure_keeps(nbytes);
	special_cases();
	aligned_blocks();
	random_history(seed_from_env());
	check_heap_works();
	return 0;
}
