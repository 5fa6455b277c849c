/* fork_signal.c: fork() from a signal handler that interrupted malloc or free, in four churning
 * threads at once; the child allocates, frees what the thread had, and ends. No hang, ever.
 *
 * args: 1000
 * timeout: 300
 */
#include "tests/check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

enum { NTHREADS = 4, NBLOCKS = 30 };

static _Atomic bool is_over;
static _Atomic long nforks;
static __thread char *block[NBLOCKS];
static __thread volatile sig_atomic_t slot = -1;        /* being replaced */

/* In the child: the heap works, and blocks that the parent's thread held can be freed. */
static void child(void)
{
	alarm(100);
	for (int i = 0; i < NBLOCKS; i++) {
		char *p = malloc((size_t)i * 700 + 1);
		CHECK(p);
		memset(p, 1, (size_t)i * 700 + 1);
		if (i != slot)
			free(block[i]);
		free(p);
	}
	_exit(0);
}

static void handler(int signo)
{
	int kept = errno, status;
	pid_t pid;

	(void)signo;
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		child();
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	CHECKF(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child: %x", (unsigned)status);
	atomic_fetch_add_explicit(&nforks, 1, memory_order_relaxed);
	errno = kept;
}

static void *churn(void *id)
{
	uint64_t random = (uintptr_t)id + 4711;

	while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
		int i = (int)(next_random(&random) % NBLOCKS);
		slot = i;
		free(block[i]);
		block[i] = malloc(random_size(&random));
		CHECK(block[i]);
		block[i][0] = 1;
		slot = -1;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	long wanted = argc > 1 ? atol(argv[1]) : 1000;
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
	pthread_t thread[NTHREADS];

	sigaction(SIGUSR1, &action, NULL);
	for (size_t i = 0; i < NTHREADS; i++)
		CHECK(pthread_create(&thread[i], NULL, churn, (void *)i) == 0);
	for (long n = 0; n < wanted; n += NTHREADS) {
		watchdog(100);
		for (size_t i = 0; i < NTHREADS; i++)
			CHECK(pthread_kill(thread[i], SIGUSR1) == 0);
		while (atomic_load_explicit(&nforks, memory_order_relaxed) < n + NTHREADS)
			sleep_ms(1);
	}
	atomic_store_explicit(&is_over, true, memory_order_relaxed);
	for (size_t i = 0; i < NTHREADS; i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
	printf("%ld forks\n", atomic_load_explicit(&nforks, memory_order_relaxed));
	return 0;
}
