/* madvise.c: how memory goes back. dontneed: RSS falls. free: RSS stays, the kernel may take it
 * (LazyFree). none: nothing goes. And when: at once, later, never.
 *
 * variants: SPANGC_MADVISE=dontneed | SPANGC_MADVISE=free | SPANGC_MADVISE=none | SPANGC_RELEASE_DELAY=0 | SPANGC_RELEASE_DELAY=never | SPANGC_MADVISE=dontneed SPANGC_BACKGROUND=off
 */
#include "tests/process/process.h"

#include <malloc.h>

static bool setting_is(const char *name, const char *value)
{
	const char *text = getenv(name);

	return text && strcmp(text, value) == 0;
}

static void free_much(void)
{
	static char *block[640];

	for (size_t i = 0; i < COUNT(block); i++) {
		CHECK((block[i] = malloc(100000)) != NULL);
		memset(block[i], 1, 100000);
	}
	for (size_t i = 0; i < COUNT(block); i++)
		free(block[i]);
}

/* Some work for a program without a helper thread: its calls must do the giving back. */
static void work_a_little(void)
{
	char *block[200];

	for (size_t i = 0; i < COUNT(block); i++)
		block[i] = malloc(i * 100);
	for (size_t i = 0; i < COUNT(block); i++)
		free(block[i]);
}

/* Waits for it: how long that takes is not this test's business. */
static bool rss_falls_below(size_t nbytes, unsigned seconds)
{
	for (unsigned i = 0; i < seconds * 20; i++) {
		if (rss_bytes() < nbytes)
			return true;
		if (setting_is("SPANGC_BACKGROUND", "off"))
			work_a_little();
		sleep_ms(50);
	}
	return false;
}

int main(void)
{
	size_t low = rss_bytes() + MIB(16), high = rss_bytes() + MIB(50);

	free_much();
	if (setting_is("SPANGC_MADVISE", "free")) {
		malloc_trim(0);
		CHECKF(lazy_free_bytes() > MIB(48), "LazyFree %zu", lazy_free_bytes());
		CHECK(rss_bytes() > high);
	} else if (setting_is("SPANGC_MADVISE", "none")) {
		CHECK(malloc_trim(0) == 0);
		CHECK(!rss_falls_below(high, 3));
	} else if (setting_is("SPANGC_RELEASE_DELAY", "0")) {
		CHECKF(rss_bytes() < low, "RSS %zu", rss_bytes());
	} else if (setting_is("SPANGC_RELEASE_DELAY", "never")) {
		CHECK(!rss_falls_below(high, 3));
		CHECK(malloc_trim(0) == 1);     /* but an order is an order */
		CHECKF(rss_bytes() < low, "RSS %zu", rss_bytes());
	} else {
		CHECK(rss_falls_below(low, 60));
	}
	free_much();
	check_heap_works();
	return 0;
}
