/* helper.c: running a program beside the one that we are in.
 *
 * Reached from symbols.c. The questions are a file, so that neither side ever waits for the other to
 * read. By vfork and execve: no handler of the program's for fork runs, and nothing is copied.
 * Signals are blocked meanwhile, for a handler would run in the child with the parent's memory.
 */
#include "scan/helper.h"

#include "core/sigmask.h"
#include "scan/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SILENCE_MS 60000
#define FIRST_FD 3

static struct scratch env_memory;

int helper_questions(void)
{
	return (int)syscall(SYS_memfd_create, "spangc questions", 1u);  /* MFD_CLOEXEC */
}

static bool is_kept(const char *variable)
{
	return strncmp(variable, "LD_", 3) != 0 && strncmp(variable, "SPANGC_", 7) != 0;
}

static char **filter(char **env)
{
	size_t n = 0, nkept = 0;

	while (env && env[n])
		n++;

	char **kept = scratch_take(&env_memory, (n + 1) * sizeof *kept);

	for (size_t i = 0; kept && i < n; i++) {
		if (is_kept(env[i]))
			kept[nkept++] = env[i];
	}
	return kept;
}

/* In the child, which borrows the parent's memory. */
static void become(const char *path, char **env, int in, int out)
{
	char *argv[] = { (char *)(uintptr_t)path, NULL };
	int null = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_WRONLY, 0);
	sigset_t none;

	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
		return;
	if (null >= 0)
		dup2(null, STDERR_FILENO);
	syscall(SYS_close_range, FIRST_FD, ~0u, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(path, argv, env);
}

static __attribute__((noinline)) pid_t start(const char *path, char **env, int in, int out)
{
	pid_t child = vfork();

	if (child == 0) {
		become(path, env, in, out);
		syscall(SYS_exit_group, 127);
	}
	return child;
}

/* The output to its end, or until the helper falls silent. */
static size_t read_all(int fd, char *to, size_t max)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t len = 0;

	while (len < max) {
		int nready = poll(&p, 1, SILENCE_MS);

		if (nready < 0 && errno == EINTR)
			continue;
		if (nready <= 0)
			break;

		long n = syscall(SYS_read, fd, to + len, max - len);

		if (n <= 0)
			break;
		len += (size_t)n;
	}
	return len;
}

size_t helper_run(const char *path, char **env, int questions, char *answers, size_t max)
{
	char **filtered = filter(env);
	struct sigmask saved;
	size_t len = 0;
	int fd[2];

	if (!filtered || pipe2(fd, O_CLOEXEC))
		return 0;
	lseek(questions, 0, SEEK_SET);
	sigmask_block(&saved);

	pid_t child = start(path, filtered, questions, fd[1]);

	syscall(SYS_close, fd[1]);
	if (child > 0) {
		len = read_all(fd[0], answers, max);
		kill(child, SIGKILL);           /* if it has more to say */
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
	}
	syscall(SYS_close, fd[0]);
	sigmask_restore(&saved);
	scratch_drop(&env_memory);
	return len;
}
