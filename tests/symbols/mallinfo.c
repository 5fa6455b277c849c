/* mallinfo.c: uordblks (with hblkhd for mapped blocks) follows what the program holds, to the
 * byte while one thread is at work; the arena is what is used and what is free; the old int fields
 * stay at INT_MAX instead of wrapping.
 */
#include "tests/check.h"

#include <limits.h>
#include <malloc.h>

static size_t held(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static void follows(size_t nbytes, size_t n)
{
	static char *block[10000];
	size_t before = held(), total = nbytes * n, full;

	for (size_t i = 0; i < n; i++)
		CHECK((block[i] = malloc(nbytes)) != NULL);
	full = held();
	CHECKF(full >= before + total - total / 50, "%zu of %zu: %zu to %zu", n, nbytes, before,
	       full);
	CHECKF(full <= before + total + total / 3 + KIB(64), "%zu of %zu: %zu to %zu", n, nbytes,
	       before, full);
	for (size_t i = 0; i < n; i++)
		free(block[i]);
	CHECKF(held() <= before + total / 8 + KIB(64), "%zu of %zu: %zu to %zu", n, nbytes,
	       before, held());
}

/* What is behind a block: in mode leaks its record, in mode gc a byte that is its own. */
static size_t tail_bytes(void)
{
	const char *mode = getenv("SPANGC_MODE");

	return !mode ? 0 : strcmp(mode, "gc") == 0 ? 1 : 8;
}

static void follows_exactly(size_t nbytes)
{
	size_t before = held();
	void *p = malloc(hide_size(nbytes));
	struct mallinfo2 with = mallinfo2();

	CHECK(p);
	size_t own = with.uordblks + with.hblkhd - before - malloc_usable_size(p);

	CHECKF(own == (own ? tail_bytes() : 0), "%zu bytes: %zu", nbytes, own);
	CHECKF(with.arena == with.uordblks + with.fordblks, "%zu bytes", nbytes);
	CHECK(with.fsmblks <= with.fordblks && with.keepcost <= with.fordblks);
	CHECK(with.usmblks == 0);
	free(p);
	CHECKF(held() == before, "%zu bytes: %zu, not %zu", nbytes, held(), before);
}

static bool is_sane(int field)
{
	return field >= 0;
}

/* By dlsym: the header warns of it, as its fields are too small. */
static void saturates(void)
{
	struct mallinfo (*old_mallinfo)(void) = (struct mallinfo (*)(void))symbol("mallinfo");
	char *p = malloc(hide_size(3 * GIB(1)));
	struct mallinfo m;

	if (!p)
		return;
	m = old_mallinfo();
	CHECK(held() >= 3 * GIB(1));
	CHECK(is_sane(m.arena) && is_sane(m.ordblks) && is_sane(m.smblks) && is_sane(m.hblks));
	CHECK(is_sane(m.hblkhd) && is_sane(m.usmblks) && is_sane(m.fsmblks));
	CHECK(is_sane(m.uordblks) && is_sane(m.fordblks) && is_sane(m.keepcost));
	CHECK(m.uordblks == INT_MAX || m.hblkhd == INT_MAX);
	free(p);
}

int main(void)
{
	/* Freeing much more than this starts the helper, for which libc allocates. */
	for (size_t nbytes = 1; nbytes < 4 * MIB(1); nbytes += nbytes / 3 + 1)
		follows_exactly(nbytes);
	follows(100, 10000);
	follows(1000, 10000);
	follows(20000, 1000);
	follows(100000, 100);
	follows(10000000, 4);
	saturates();
	return 0;
}
