/* vfork_spawn.c: vfork(), posix_spawn() and system() while threads churn: their children share
 * our memory for a moment and must leave it as it is.
 */
#include "tests/process/process.h"

#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>

static _Atomic bool is_over;

static void *churn(void *unused)
{
	uint64_t random = 5;
	unsigned char *block[50] = { NULL };
	size_t size[50] = { 0 };

	while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
		size_t i = next_random(&random) % COUNT(block);
		CHECK(!block[i] || pattern_holds(block[i], size[i], i));
		free(block[i]);
		size[i] = random_size(&random);
		CHECK((block[i] = malloc(size[i])) != NULL);
		pattern_fill(block[i], size[i], i);
	}
	return unused;
}

static void ended(pid_t pid)
{
	int status;

	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECKF(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x", (unsigned)status);
}

static void by_vfork(char *const argv[])
{
	pid_t pid = vfork();

	if (pid == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	ended(pid);
}

static void by_spawn(char *const argv[])
{
	pid_t pid;

	CHECK(posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) == 0);
	ended(pid);
}

int main(void)
{
	char *argv[] = { "true", NULL };
	pthread_t thread[2];

	watchdog(100);
	for (size_t i = 0; i < COUNT(thread); i++)
		CHECK(pthread_create(&thread[i], NULL, churn, NULL) == 0);
	for (int i = 0; i < 50; i++) {
		by_vfork(argv);
		by_spawn(argv);
		CHECK(i % 10 || system("true") == 0);
	}
	atomic_store_explicit(&is_over, true, memory_order_relaxed);
	for (size_t i = 0; i < COUNT(thread); i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
	check_heap_works();
	return 0;
}
