/* rss_little.c: a helper that came for 40 MiB also gives back what little lies free inside the spans
 * of a thread that idles, though that takes a second longer: under the default delay.
 */
#include "tests/process/process.h"

enum { NBLOCKS = 12000, NBYTES = 500 };

static char *block[NBLOCKS];

int main(void)
{
	size_t before = rss_bytes(), now = SIZE_MAX;
	char *large;

	for (size_t i = 0; i < NBLOCKS; i++)
		memset(block[i] = hide(malloc(NBYTES)), 1, NBYTES);
	large = hide(malloc(MIB(40)));
	memset(large, 1, MIB(40));
	for (size_t i = 0; i < NBLOCKS; i++)
		if (i % 64)
			free(block[i]);
	free(large);
	/* 6 MB of small blocks, of which every eighth os page stays. */
	for (unsigned i = 0; i < 1200 && now > before + MIB(3); i++) {
		sleep_ms(50);
		now = rss_bytes();
	}
	CHECKF(now <= before + MIB(3), "%zu, before %zu", now, before);
	return 0;
}
