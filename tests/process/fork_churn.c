/* fork_churn.c: fork() beside churning threads; the child allocates a lot, starts threads of
 * its own and forks again. Blocks from before the fork keep their contents.
 *
 * args: 100
 *   leaks: 200 children report what the threads held that they do not have, for half a minute
 */
#include "tests/check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

static _Atomic bool is_over;
static unsigned char *inherited[100];

/* Until all is over, or for `limit` steps (as a pointer; NULL: no limit). */
static void *churn(void *limit)
{
	uint64_t random = (uintptr_t)&limit | 1;
	unsigned char *block[50] = { NULL };

	for (uintptr_t n = 0; n < (uintptr_t)limit - 1; n++) {
		if (atomic_load_explicit(&is_over, memory_order_relaxed))
			break;
		size_t i = next_random(&random) % COUNT(block);
		free(block[i]);
		block[i] = malloc(random_size(&random) + 1);
		CHECK(block[i]);
		block[i][0] = 1;
	}
	for (size_t i = 0; i < COUNT(block); i++)
		free(block[i]);
	return NULL;
}

static void wait_for(pid_t pid)
{
	int status;

	CHECK(pid >= 0);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECKF(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child: %x", (unsigned)status);
}

static void child(int depth)
{
	pthread_t t;

	alarm(100);
	check_heap_works();
	for (size_t i = 0; i < COUNT(inherited); i++) {
		if (i % 2 < (size_t)depth)
			continue;               /* our parent freed it */
		CHECK(pattern_holds(inherited[i], i * 300 + 1, i));
		if (i % 2 == (size_t)depth)
			free(inherited[i]);
	}
	CHECK(pthread_create(&t, NULL, churn, (void *)20000) == 0);
	if (depth == 0) {
		pid_t pid = fork();
		if (pid == 0) {
			child(1);
			_exit(0);
		}
		wait_for(pid);
	}
	CHECK(pthread_join(t, NULL) == 0);
	free(calloc(1, MIB(20)));
	check_heap_works();
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 100;
	pthread_t thread[4];

	for (size_t i = 0; i < COUNT(inherited); i++) {
		CHECK((inherited[i] = malloc(i * 300 + 1)) != NULL);
		pattern_fill(inherited[i], i * 300 + 1, i);
	}
	for (size_t i = 0; i < COUNT(thread); i++)
		CHECK(pthread_create(&thread[i], NULL, churn, NULL) == 0);
	while (n-- > 0) {
		watchdog(100);
		pid_t pid = fork();
		if (pid == 0) {
			child(0);
			_exit(0);
		}
		wait_for(pid);
	}
	atomic_store_explicit(&is_over, true, memory_order_relaxed);
	for (size_t i = 0; i < COUNT(thread); i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
	check_heap_works();
	return 0;
}
