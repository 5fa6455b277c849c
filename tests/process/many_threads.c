/* many_threads.c: thousands of threads come and go, each leaving some of its blocks to be freed
 * by the next. What dead threads had serves the living: memory stays bounded.
 *
 * args: 4000
 */
#include "tests/process/process.h"

#include <pthread.h>

enum { WAVE = 8, NBLOCKS = 60 };

static char *left[WAVE][NBLOCKS];

static void *thread(void *at)
{
	char **mine = left[(size_t)at];
	char *own[NBLOCKS];

	for (size_t i = 0; i < NBLOCKS; i++) {
		free(mine[i]);
		CHECK((own[i] = malloc(i * 40 + 1)) != NULL);
		CHECK((mine[i] = malloc(i * i * 5 + 1)) != NULL);
		memset(own[i], 1, i * 40 + 1);
		memset(mine[i], 2, i * i * 5 + 1);
	}
	for (size_t i = 0; i < NBLOCKS; i++)
		free(own[i]);
	return NULL;
}

static void wave(void)
{
	pthread_t t[WAVE];

	for (size_t i = 0; i < WAVE; i++)
		CHECK(pthread_create(&t[i], NULL, thread, (void *)i) == 0);
	for (size_t i = 0; i < WAVE; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 4000;
	size_t rss = 0;

	for (int i = 0; i < n / WAVE; i++) {
		wave();
		if (i == n / WAVE / 10)
			rss = rss_bytes();
	}
	printf("%d threads: RSS %zu KiB after a tenth of them, %zu KiB after all\n", n,
	       rss / KIB(1), rss_bytes() / KIB(1));
	CHECKF(rss_bytes() < rss + MIB(8), "RSS %zu, then %zu", rss, rss_bytes());
	check_heap_works();
	return 0;
}
