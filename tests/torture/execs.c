/* execs.c: processes become other programs in the midst of collections, and these begin undisturbed: what
 * was sent to stop a thread does not reach what it has become.
 *
 * also: SPANGC_GC_FREE=ignore | SPANGC_MODE=leaks SPANGC_REPORT=/dev/null
 */
#include "tests/torture/torture.h"

#include <sys/wait.h>

#define NTHREADS 2

extern char **environ;

/* The thread that calls exec is stopped again and again until then; half of the time another does. */
static void *become(void *arg)
{
	char *argv[] = { "/proc/self/exe", "another", NULL };

	usleep((useconds_t)(uintptr_t)arg);
	execve(argv[0], argv, environ);
	_exit(1);
}

static NOINLINE void live_and_become(uint64_t rng)
{
	alarm(100);
	for (unsigned i = 0; i < 50; i++)
		make_garbage(&rng);
	start_thread(collect_on_and_on, NULL);
	start_thread(collect_on_and_on, NULL);
	if (rng % 2)
		become((void *)(rng >> 8 & 2047));
	join_thread(start_thread(become, (void *)(rng >> 8 & 2047)));
}

static void *storm(void *arg)
{
	uint64_t rng = torture.seed + (uintptr_t)arg * 2;

	while (torture_goes_on()) {
		pid_t child = fork();
		int status;

		CHECK(child >= 0);
		if (child == 0)
			live_and_become(next_random(&rng));
		next_random(&rng);
		CHECK(waitpid(child, &status, 0) == child);
		CHECKF(WIFEXITED(status) && WEXITSTATUS(status) == 7, "%x", (unsigned)status);
		torture_count(1);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread[NTHREADS];

	if (argc > 1 && strcmp(argv[1], "another") == 0)
		return 7;
	torture_begin();
	for (unsigned i = 0; i < NTHREADS; i++)
		thread[i] = start_thread(storm, (void *)(uintptr_t)(i + 1));
	for (unsigned i = 0; i < NTHREADS; i++)
		join_thread(thread[i]);
	return torture_end();
}
