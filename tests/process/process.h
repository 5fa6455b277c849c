/* process.h: what a process can see of itself, and how a test runs itself again.
 *
 * For programs of tests/process and others that look at memory, threads or mappings. All
 * reading goes through one static buffer without stdio, so that looking does not allocate.
 */
#ifndef TESTS_PROCESS_H
#define TESTS_PROCESS_H

#include "tests/check.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* The whole of a /proc file, as a string that lasts until the next call. */
static inline const char *proc_text(const char *path)
{
	static char text[4 << 20];
	size_t len = 0;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	CHECKF(fd >= 0, "%s", path);
	while ((n = read(fd, text + len, sizeof text - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	text[len] = '\0';
	return text;
}

/* The sum over all lines `NAME:  n kB` of a /proc file, in bytes. */
static inline size_t proc_bytes(const char *path, const char *name)
{
	size_t total = 0, len = strlen(name);

	for (const char *p = proc_text(path); p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (strncmp(p, name, len) == 0 && p[len] == ':')
			total += strtoull(p + len + 1, NULL, 10) * KIB(1);
	}
	return total;
}

/* What is resident are the pages that were touched, also where huge ones are the machine's default. */
static __attribute__((constructor)) void touch_small_pages(void)
{
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

static inline size_t rss_bytes(void)
{
	return proc_bytes("/proc/self/smaps_rollup", "Rss");
}

static inline size_t lazy_free_bytes(void)
{
	return proc_bytes("/proc/self/smaps_rollup", "LazyFree");
}

static inline unsigned thread_count(void)
{
	const char *line = strstr(proc_text("/proc/self/status"), "\nThreads:");

	CHECK(line);
	return (unsigned)strtoul(line + 9, NULL, 10);
}

/* Waits up to `seconds` until there are `n` threads. False: there never were. */
static inline bool threads_become(unsigned n, unsigned seconds)
{
	for (unsigned i = 0; i < seconds * 100; i++) {
		if (thread_count() == n)
			return true;
		sleep_ms(10);
	}
	return false;
}

/* The file beside this program, for plug-ins and helpers. */
static inline const char *beside(const char *name)
{
	static char path[PATH_MAX + NAME_MAX];
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX);

	CHECK(n > 0);
	path[n] = '\0';
	strcpy(strrchr(path, '/') + 1, name);
	return path;
}

/* What is preloaded as libspangc.so, or NULL if the test runs without it. */
static inline const char *preloaded_library(void)
{
	static char path[PATH_MAX];
	const char *list = getenv("LD_PRELOAD"), *start;
	size_t len;

	if (!list || !strstr(list, "libspangc.so"))
		return NULL;
	start = strstr(list, "libspangc.so");
	while (start > list && start[-1] != ' ' && start[-1] != ':')
		start--;
	len = strcspn(start, " :");
	CHECK(len < sizeof path);
	memcpy(path, start, len);
	path[len] = '\0';
	return path;
}

/* What a child did. */
struct outcome {
	int    status;                  /* as of waitpid */
	size_t nlines;                  /* on stderr */
	char   err[4096];               /* its stderr, cut */
};

/* Reads the child's stderr to its end and waits for it. */
static inline void outcome_collect(struct outcome *o, pid_t child, int fd)
{
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, o->err + len, sizeof o->err - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	o->err[len] = '\0';
	o->nlines = 0;
	for (size_t i = 0; i < len; i++)
		o->nlines += o->err[i] == '\n';
	CHECK(waitpid(child, &o->status, 0) == child);
}

/* Runs `file` with argv in a child; `prepare` (or NULL) is called there before exec. Its pid. */
static inline pid_t run_file(struct outcome *o, const char *file, char *const argv[],
                             void (*prepare)(void))
{
	int fd[2];
	pid_t child;

	CHECK(pipe(fd) == 0);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		dup2(fd[1], 2);
		close(fd[0]);
		close(fd[1]);
		if (prepare)
			prepare();
		execvp(file, argv);
		_exit(127);
	}
	close(fd[1]);
	outcome_collect(o, child, fd[0]);
	return child;
}

static inline void run_program(struct outcome *o, char *const argv[], void (*prepare)(void))
{
	run_file(o, argv[0], argv, prepare);
}

/* This very program again, with one argument. */
static inline void run_self(struct outcome *o, const char *arg, void (*prepare)(void))
{
	char *argv[] = { "/proc/self/exe", (char *)(uintptr_t)arg, NULL };

	run_program(o, argv, prepare);
}

static inline bool ended_well(const struct outcome *o)
{
	return WIFEXITED(o->status) && WEXITSTATUS(o->status) == 0;
}

#endif
