/* rss_inside.c: of blocks of which nine in ten were freed at random, so that hardly a span is
 * wholly free, the os pages without a block go back while the program sleeps: of 500-byte blocks
 * about four pages in ten. Also if the program goes on working a little for some seconds first.
 *
 * variants: WORKS=0 | WORKS=1
 */
#include "tests/process/process.h"

enum { NBLOCKS = 300000, NBYTES = 500, SECONDS = 60 };

static char *block[NBLOCKS];

static void free_most(uint64_t *random)
{
	for (size_t i = 0; i < NBLOCKS; i++) {
		if (next_random(random) % 10) {
			free(block[i]);
			block[i] = NULL;
		}
	}
}

/* Longer than a helper without work stays. */
static void work_a_little(void)
{
	for (unsigned i = 0; i < 500; i++) {
		void *p[300];

		for (size_t k = 0; k < COUNT(p); k++)
			CHECK((p[k] = hide(malloc(NBYTES))));
		for (size_t k = 0; k < COUNT(p); k++)
			free(p[k]);
		sleep_ms(10);
	}
}

int main(void)
{
	uint64_t random = seed_from_env();
	size_t before = rss_bytes(), peak, now;

	for (size_t i = 0; i < NBLOCKS; i++) {
		CHECK((block[i] = malloc(NBYTES)));
		memset(block[i], 1, NBYTES);
	}
	peak = rss_bytes() - before;
	free_most(&random);
	if (strcmp(getenv("WORKS"), "1") == 0)
		work_a_little();
	for (unsigned i = 0; i < SECONDS * 20; i++) {
		now = rss_bytes() - before;
		if (now < peak / 4 * 3)
			break;
		sleep_ms(50);
	}
	printf("peak %zu KiB, later %zu KiB\n", peak / KIB(1), now / KIB(1));
	CHECKF(now < peak / 4 * 3, "peak %zu, later %zu", peak, now);
	check_heap_works();
	return 0;
}
