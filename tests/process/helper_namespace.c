/* helper_namespace.c: unshare() and setns() of a user namespace want a process of one thread;
 * a helper of ours may be about when the program calls them. setuid() after start works too.
 */
#include "tests/process/process.h"

#include <sched.h>

static void free_much(void)
{
	static char *block[3200];

	for (size_t i = 0; i < COUNT(block); i++) {
		CHECK((block[i] = malloc(10000)) != NULL);
		memset(block[i], 1, 10000);
	}
	for (size_t i = 0; i < COUNT(block); i++)
		free(block[i]);
}

static int child_unshare(void)
{
	free_much();
	threads_become(2, 3);
	CHECKF(unshare(CLONE_NEWUSER) == 0, "errno %d", errno);
	free_much();
	check_heap_works();
	return 0;
}

static int child_setuid(void)
{
	free_much();
	threads_become(2, 3);
	CHECK(setgid(65534) == 0 && setuid(65534) == 0);
	CHECK(getuid() == 65534 && setuid(0) != 0);
	free_much();
	check_heap_works();
	return 0;
}

/* Is it the kernel that forbids it, whoever asks? */
static bool kernel_permits(void)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0)
		_exit(syscall(SYS_unshare, CLONE_NEWUSER) != 0);
	CHECK(waitpid(pid, &status, 0) == pid);
	return status == 0;
}

int main(int argc, char **argv)
{
	struct outcome o;

	watchdog(100);
	if (argc > 1)
		return strcmp(argv[1], "unshare") == 0 ? child_unshare() : child_setuid();
	if (geteuid() == 0) {
		run_self(&o, "setuid", NULL);
		CHECKF(ended_well(&o), "%x %s", (unsigned)o.status, o.err);
	}
	if (!kernel_permits())
		SKIP("no user namespaces here");
	run_self(&o, "unshare", NULL);
	CHECKF(ended_well(&o), "%x %s", (unsigned)o.status, o.err);
	return 0;
}
