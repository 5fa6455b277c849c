/* measure.c: runs a command and writes what it used.
 *
 *     measure [-p LIBRARY] OUTPUT COMMAND [ARGUMENT...]
 *
 * LIBRARY is preloaded into the command and what it starts, not into this program.
 * OUTPUT gets one line: cpu_s elapsed_s peak_kb, over the command and those of its
 * children that were waited for. Exits as the command did, 128 + N for signal N,
 * 126 if it could not be run.
 *
 * It exists because the kernel counts the resident memory of the process that
 * forks into ru_maxrss of the child: a small parent does not show.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static double elapsed(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static _Noreturn void run(const char *library, char **command)
{
	if (library && setenv("LD_PRELOAD", library, 1) != 0)
		_exit(126);
	execvp(command[0], command);
	perror(command[0]);
	_exit(126);
}

static int write_usage(const char *path, double elapsed_s)
{
	struct rusage u;
	FILE *out = fopen(path, "w");

	if (!out || getrusage(RUSAGE_CHILDREN, &u) != 0)
		return 126;
	fprintf(out, "%.6f %.6f %ld\n", seconds(u.ru_utime) + seconds(u.ru_stime), elapsed_s,
	        u.ru_maxrss);
	return fclose(out) == 0 ? 0 : 126;
}

int main(int argc, char **argv)
{
	const char *library = NULL;
	double started = elapsed();
	int status;
	pid_t child;

	if (argc > 3 && strcmp(argv[1], "-p") == 0) {
		library = argv[2];
		argv += 2;
		argc -= 2;
	}
	if (argc < 3)
		return 126;
	child = fork();
	if (child == 0)
		run(library, argv + 2);
	if (child < 0 || waitpid(child, &status, 0) != child)
		return 126;
	if (write_usage(argv[1], elapsed() - started) != 0)
		return 126;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
