/* helper.c: running a program beside the one that we are in.
 *
 * Reached from symbols.c and report_pprof.c. What it reads is a file, so that neither side ever waits
 * for the other to read. By clones that share memory, on stacks of their own: no handler of the
 * program's for fork runs, and nothing is copied. There are two, for the kernel sends SIGCHLD for
 * whatever called execve: the first one is the other's parent, and nobody hears of its own end.
 * Signals are blocked meanwhile and have their default actions in the second, for a handler would run
 * there with our memory. Calls that are cancellation points go by syscall(2).
 */
#include "scan/helper.h"

#include "core/os.h"
#include "core/sigmask.h"
#include "scan/regs.h"
#include "scan/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* libc's other name: preload has the usual one. */
extern int __sigaction(int signo, const struct sigaction *new, struct sigaction *old);

#define SILENCE_S 60
#define END_MS 5000                             /* between its last word and its end */
#define FIRST_FD 3
#define NOT_RUN 127                             /* as env(1) has it */
#define STACK_BYTES KIB(64)
#define PIECE_BYTES KIB(16)

static struct scratch env_memory, stack_memory;

struct job {
	const char *path;
	char **env;
	int in, out;
	void *stack;
	helper_take_fn *take;
	void *arg;
	int status;
};

int helper_file(void)
{
	return (int)syscall(SYS_memfd_create, "spangc report", 1u);     /* MFD_CLOEXEC */
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
static int become(void *arg)
{
	const struct sigaction default_action = { .sa_handler = SIG_DFL };
	const struct sigmask none = { 0 };
	struct job *job = arg;
	char *argv[] = { (char *)(uintptr_t)job->path, NULL };
	int out = fcntl(job->out, F_DUPFD, FIRST_FD);
	long null = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_WRONLY, 0);

	for (int signo = 1; signo < NSIG; signo++)
		__sigaction(signo, &default_action, NULL);
	/* Where the program closed its streams, ours are among the first numbers. */
	if (dup2(fcntl(job->in, F_DUPFD, FIRST_FD), STDIN_FILENO) < 0
	    || dup2(out, STDOUT_FILENO) < 0)
		return NOT_RUN;
	if (null >= 0)
		dup2(fcntl((int)null, F_DUPFD, FIRST_FD), STDERR_FILENO);
	syscall(SYS_close_range, FIRST_FD, ~0u, 0);
	sigmask_restore(&none);
	execve(job->path, argv, job->env);
	return NOT_RUN;
}

/* libc's clone(): the child's function is its whole life. */
static pid_t start(int (*run)(void *), void *stack, void *arg)
{
	return clone(run, (char *)stack + STACK_BYTES, CLONE_VM | CLONE_VFORK, arg);
}

/* The output to its end, or until the helper falls silent or nobody wants more: false. */
static bool read_all(int fd, helper_take_fn *take, void *arg)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char piece[PIECE_BYTES];

	for (;;) {
		const struct timespec silence = { .tv_sec = SILENCE_S };
		long nready = syscall(SYS_ppoll, &p, 1, &silence, NULL, 0);

		if (nready < 0 && errno == EINTR)
			continue;
		if (nready <= 0)
			return false;

		long n = syscall(SYS_read, fd, piece, sizeof piece);

		if (n <= 0)
			return n == 0;
		if (!take(piece, (size_t)n, arg))
			return false;
	}
}

/* Its exit status; -1: it was killed. */
static int await(pid_t child, bool is_read)
{
	int status;

	for (unsigned ms = 0; is_read && ms < END_MS; ms++) {
		if (syscall(SYS_wait4, child, &status, __WALL | WNOHANG, NULL) == child)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		os_nap_ns(1000000);
	}
	kill(child, SIGKILL);
	while (syscall(SYS_wait4, child, NULL, __WALL, NULL) < 0 && errno == EINTR)
		;
	return -1;
}

/* In the process between: it has the program as its child, and our memory. */
static int run(void *arg)
{
	struct job *job = arg;
	int fd[2];

	if (pipe2(fd, O_CLOEXEC))
		return 1;
	job->out = fd[1];

	pid_t child = start(become, job->stack, job);

	syscall(SYS_close, fd[1]);
	if (child > 0)
		job->status = await(child, read_all(fd[0], job->take, job->arg));
	return 0;
}

int helper_run(const char *path, char **env, int in, helper_take_fn *take, void *arg)
{
	char *stacks = scratch_take(&stack_memory, 2 * STACK_BYTES);
	struct job job = { .path = path, .env = filter(env), .in = in, .stack = stacks,
		           .take = take, .arg = arg, .status = -1 };
	struct sigmask saved;

	if (!stacks || !job.env)
		return -1;
	lseek(in, 0, SEEK_SET);
	sigmask_block(&saved);

	pid_t between = start(run, stacks + STACK_BYTES, &job);

	while (between > 0 && syscall(SYS_wait4, between, NULL, __WALL, NULL) < 0 && errno == EINTR)
		;
	sigmask_restore(&saved);
	scratch_drop(&env_memory);
	scratch_drop(&stack_memory);
	return job.status;
}

bool helper_keep(const char *text, size_t nbytes, void *arg)
{
	struct helper_answers *a = arg;
	size_t room = a->max - a->len, n = nbytes < room ? nbytes : room;

	memcpy(a->text + a->len, text, n);
	a->len += n;
	return n == nbytes;
}
