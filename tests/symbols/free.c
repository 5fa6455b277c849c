/* free.c: NULL is fine, errno is kept, memory of every size can be had again.
 *
 * variants: SPANGC_MADVISE=dontneed | SPANGC_RELEASE_DELAY=0 | SPANGC_MADVISE=free SPANGC_RELEASE_DELAY=0
 */
#include "tests/check.h"

#include <malloc.h>
#include <pthread.h>

static void errno_is_kept(size_t nbytes)
{
	char *p = malloc(nbytes);

	CHECK(p);
	memset(p, 1, nbytes);
	errno = 4321;
	free(p);
	CHECKF(errno == 4321, "free of %zu bytes: errno %d", nbytes, errno);
}

static void *free_blocks(void *blocks)
{
	char **block = blocks;

	for (size_t i = 0; i < 1000; i++) {
		errno = 4321;
		free(block[i]);
		CHECK(errno == 4321);
	}
	return NULL;
}

static void freed_elsewhere(void)
{
	static char *block[1000];
	pthread_t other;

	for (size_t i = 0; i < COUNT(block); i++)
		CHECK((block[i] = malloc(i * 50)) != NULL);
	CHECK(pthread_create(&other, NULL, free_blocks, block) == 0);
	CHECK(pthread_join(other, NULL) == 0);
}

/* 64 GiB in all through one after the other: without reuse it would not fit. */
static void reused(void)
{
	for (int i = 0; i < 64 * 16; i++) {
		char *p = malloc(MIB(64));
		CHECK(p);
		p[0] = p[MIB(64) - 1] = 1;
		free(p);
	}
}

int main(void)
{
	errno = 4321;
	free(NULL);
	CHECK(errno == 4321);
	for (size_t nbytes = 1; nbytes < MIB(100); nbytes = nbytes * 3 / 2 + 1)
		for (int i = 0; i < 3; i++)
			errno_is_kept(nbytes);
	freed_elsewhere();
	reused();
	errno = 4321;
	malloc_trim(0);
	check_heap_works();
	return 0;
}
