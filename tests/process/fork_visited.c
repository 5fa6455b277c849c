/* fork_visited.c: fork while another thread looks after the caches of threads that ended
 * (malloc_trim does): in the child, new threads take those caches over and must not wait for the
 * visitor, which is not there.
 *   leaks: 400 children look through 200 MiB each
 */
#include "tests/process/process.h"

#include <malloc.h>
#include <pthread.h>

#define NTHREADS 4
#define NBLOCKS  20000
#define NFORKS   400

static char *blocks[NTHREADS][NBLOCKS];

static void *fill(void *arg)
{
	char **at = arg;

	for (size_t i = 0; i < NBLOCKS; i++) {
		at[i] = malloc(1000 + i % 3000);
		CHECK(at[i]);
		memset(at[i], 1, 1000);
	}
	return NULL;
}

static void *use(void *arg)
{
	for (size_t i = 0; i < 50; i++)
		free(malloc(5000));
	return arg;
}

static void *trim(void *arg)
{
	for (;;)
		malloc_trim(0);
	return arg;
}

static void run_threads(void *(*run)(void *), unsigned n)
{
	pthread_t thread[8];

	for (unsigned i = 0; i < n; i++)
		CHECK(pthread_create(&thread[i], NULL, run, blocks[i % NTHREADS]) == 0);
	for (unsigned i = 0; i < n; i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
}

static void fork_once(void)
{
	pid_t child = fork();
	int status;

	CHECK(child >= 0);
	if (child == 0) {
		alarm(100);
		run_threads(use, 6);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECKF(status == 0, "child ended with %x", (unsigned)status);
}

int main(void)
{
	pthread_t trimmer;
	unsigned nforks = 0;

	CHECK(pthread_create(&trimmer, NULL, trim, NULL) == 0);
	while (nforks < NFORKS) {
		run_threads(fill, NTHREADS);
		for (size_t i = 0; i < NTHREADS * NBLOCKS; i++) {
			free(blocks[i / NBLOCKS][i % NBLOCKS]);
			if (i % 4000 == 3999) {
				fork_once();
				nforks++;
			}
		}
	}
	_exit(0);
}
