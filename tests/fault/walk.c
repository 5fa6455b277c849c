/* walk.c: the first, second, third... call of each kind fails, in a child each, until a whole
 * workload passes without meeting a fault.
 *
 * variants: NAME=mmap | NAME=munmap | NAME=mprotect | NAME=madvise | NAME=mremap | NAME=mmap SPANGC_RELEASE_DELAY=0 | NAME=madvise SPANGC_RELEASE_DELAY=0 | NAME=madvise SPANGC_MADVISE=free | NAME=madvise SPANGC_THP=always
 */
#include "tests/fault/fault.h"

enum { CHILD_FAULTLESS = 2 };

static void child(const char *name, long nth)
{
	static struct workload w;

	fault_arm(name, nth);
	workload_run(&w);
	if (fault_hits() == 0)
		_exit(CHILD_FAULTLESS);
	workload_after();
	_exit(0);
}

int main(void)
{
	const char *name = getenv("NAME");
	int status = 0;
	long nth;

	for (nth = 1; WEXITSTATUS(status) != CHILD_FAULTLESS; nth++) {
		pid_t pid = fork();
		CHECK(pid >= 0);
		if (pid == 0)
			child(name, nth);
		CHECK(waitpid(pid, &status, 0) == pid);
		CHECKF(WIFEXITED(status) && WEXITSTATUS(status) != 1, "%s %ld: status %x", name,
		       nth, (unsigned)status);
		CHECK(nth < 5000);
	}
	printf("%s: %ld calls failed in turn\n", name, nth - 2);
	return 0;
}
