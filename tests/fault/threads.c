/* threads.c: four threads allocate and free while now one call fails, now another; also the
 * start of a thread may meet it. What they hold stays theirs.
 *
 * variants: NAME=mmap | NAME=mprotect | NAME=madvise
 */
#include "tests/fault/fault.h"

#include <pthread.h>

static void *churn(void *id)
{
	uint64_t random = (uintptr_t)id * 0x9e3779b97f4a7c15u + 1;
	unsigned char *block[50] = { NULL };
	size_t size[50] = { 0 };

	for (int step = 0; step < 20000; step++) {
		size_t i = next_random(&random) % COUNT(block);
		if (block[i]) {
			CHECK(pattern_holds(block[i], size[i], (uintptr_t)id + i));
			free(block[i]);
		}
		size[i] = random_size(&random);
		errno = 0;
		block[i] = malloc(size[i]);
		CHECK(block[i] || errno == ENOMEM);
		if (block[i])
			pattern_fill(block[i], size[i], (uintptr_t)id + i);
	}
	for (size_t i = 0; i < COUNT(block); i++)
		free(block[i]);
	return NULL;
}

int main(void)
{
	const char *name = getenv("NAME");

	for (int round = 0; round < 5; round++) {
		pthread_t thread[4];
		fault_arm(name, FAULT_NEVER);
		for (size_t i = 0; i < COUNT(thread); i++) {
			fault_arm(name, (long)i + 1);
			CHECK(pthread_create(&thread[i], NULL, churn, (void *)(i + 1)) == 0);
		}
		for (long nth = 1; nth < 20; nth++) {
			fault_arm(name, nth % 5);
			sleep_ms(1);
		}
		for (size_t i = 0; i < COUNT(thread); i++)
			CHECK(pthread_join(thread[i], NULL) == 0);
	}
	workload_after();
	return 0;
}
