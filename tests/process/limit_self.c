/* limit_self.c: a program limits its own address space, as Python's resource.setrlimit does: what
 * it maps afterwards counts, not what the library had reserved.
 */
#include "tests/process/process.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>

static void *run(void *arg)
{
	check_heap_works();
	return arg;
}

int main(void)
{
	struct rlimit limit = { .rlim_cur = MIB(1024), .rlim_max = RLIM_INFINITY };
	char *before = malloc(100), *block[64];
	pthread_t thread;

	CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
	for (size_t i = 0; i < 64; i++) {
		block[i] = malloc(MIB(8));
		CHECKF(block[i], "after %zu of 512 MiB", i * 8);
		memset(block[i], 1, MIB(8));
	}
	CHECK(mmap(NULL, MIB(64), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	CHECK(!malloc(MIB(1024)));              /* more than the limit */
	CHECK(pthread_create(&thread, NULL, run, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	for (size_t i = 0; i < 64; i++)
		free(block[i]);
	free(before);
	limit.rlim_cur = RLIM_INFINITY;
	CHECK(prlimit(0, RLIMIT_AS, &limit, NULL) == 0);
	check_heap_works();
	return 0;
}
