/* leaks_exec.c: in mode leaks a process reports before it becomes another program, whichever function
 * it calls; not where there is no such program, and not in a child that was made for that.
 *   leaks: it sets the mode itself
 */
#include "tests/process/process.h"

#include <spawn.h>

#define SUMMARY "SUMMARY: spangc: 48 byte(s) leaked in 1 allocation(s).\n"

extern char **environ;

static __attribute__((noinline)) void leak(size_t nbytes)
{
	memset(hide(malloc(nbytes)), 0, nbytes);
}

static __attribute__((noinline)) void wipe(void)
{
	char room[8192];

	memset(room, 0, sizeof room);
	hide(room);
}

static char *args[] = { (char *)"sh", (char *)"-c", (char *)"exit 7", NULL };

static void become(const char *how)
{
	int fd;

	if (!strcmp(how, "execve"))
		execve("/bin/sh", args, environ);
	if (!strcmp(how, "execv"))
		execv("/bin/sh", args);
	if (!strcmp(how, "execvp"))
		execvp("sh", args);
	if (!strcmp(how, "execvpe"))
		execvpe("sh", args, environ);
	if (!strcmp(how, "execl"))
		execl("/bin/sh", "sh", "-c", "exit 7", NULL);
	if (!strcmp(how, "execlp"))
		execlp("sh", "sh", "-c", "exit 7", NULL);
	if (!strcmp(how, "execle"))
		execle("/bin/sh", "sh", "-c", "exit 7", NULL, environ);
	if (!strcmp(how, "fexecve")) {
		fd = open("/bin/sh", O_RDONLY | O_CLOEXEC);
		fexecve(fd, args, environ);
	}
	if (!strcmp(how, "none")) {             /* goes on, and reports at its end */
		CHECK(execvp("no-such-program", args) == -1 && errno == ENOENT);
		CHECK(execl("/no/such", "such", NULL) == -1 && errno == ENOENT);
		exit(7);
	}
}

static void in_child(const char *how)
{
	pid_t child = -1;
	int status;

	if (!strcmp(how, "fork")) {
		child = fork();
		if (child == 0) {
			free(malloc(100));
			execv("/bin/sh", args);
		}
	} else if (!strcmp(how, "vfork")) {
		child = vfork();
		if (child == 0) {
			execv("/bin/sh", args);
			_exit(1);
		}
	} else if (!strcmp(how, "spawn")) {
		CHECK(posix_spawn(&child, "/bin/sh", NULL, NULL, args, environ) == 0);
	}
	CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7);
	exit(7);
}

static void set_leaks(void)
{
	setenv("SPANGC_MODE", "leaks", 1);
}

static void reports_once(const char *how)
{
	struct outcome o;

	run_self(&o, how, set_leaks);

	const char *first = strstr(o.err, SUMMARY);

	CHECKF(o.status == W_EXITCODE(7, 0), "%s: %x: %s", how, (unsigned)o.status, o.err);
	CHECKF(first && !strstr(first + 1, SUMMARY), "%s: %s", how, o.err);
}

int main(int argc, char **argv)
{
	static const char *const ways[] = { "execve", "execv", "execvp", "execvpe", "execl", "execlp",
	                                    "execle", "fexecve", "none", "fork", "vfork", "spawn" };

	if (!preloaded_library())
		SKIP("runs with the library only");
	watchdog(100);
	if (argc > 1) {
		leak(48);
		wipe();
		become(argv[1]);
		in_child(argv[1]);
		return 1;
	}
	for (size_t i = 0; i < COUNT(ways); i++)
		reports_once(ways[i]);
	return 0;
}
