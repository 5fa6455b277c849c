/* core_size.c: the core of a small program is small: what is only reserved is not dumped.
 *   leaks: the dump has the table of stacks, too
 */
#include "tests/process/process.h"

#include <dirent.h>
#include <sys/stat.h>

static char directory[PATH_MAX];

static void dump_here(void)
{
	struct rlimit r = { RLIM_INFINITY, RLIM_INFINITY };

	CHECK(chdir(directory) == 0);
	if (setrlimit(RLIMIT_CORE, &r) != 0)
		_exit(77);
}

/* core or core.PID; false and an empty path if there is neither. */
static bool find_core(char *path, size_t nbytes)
{
	DIR *d = opendir(directory);
	struct dirent *entry;

	CHECK(d);
	path[0] = '\0';
	while ((entry = readdir(d)) != NULL)
		if (strncmp(entry->d_name, "core", 4) == 0)
			snprintf(path, nbytes, "%s/%.40s", directory, entry->d_name);
	closedir(d);
	return path[0];
}

static void check_core(const char *path)
{
	struct stat s;

	CHECK(stat(path, &s) == 0);
	unlink(path);
	printf("core of %ld KiB\n", (long)s.st_size / 1024);
	CHECKF(s.st_size < (off_t)MIB(24), "%ld bytes", (long)s.st_size);
}

int main(int argc, char **argv)
{
	struct outcome o;
	const char *pattern;
	char path[PATH_MAX + 50];

	if (argc > 1) {
		check_heap_works();
		abort();
	}
	(void)argv;
	pattern = proc_text("/proc/sys/kernel/core_pattern");
	if (strcmp(pattern, "core\n") != 0)
		SKIP("core_pattern is not plain: %s", pattern);
	scratch_template(directory, sizeof directory, "core_size");
	CHECK(mkdtemp(directory));
	run_self(&o, "abort", dump_here);
	CHECK(WIFSIGNALED(o.status) && WTERMSIG(o.status) == SIGABRT);
	if (find_core(path, sizeof path))
		check_core(path);
	else
		puts("skipped: no core was written");
	rmdir(directory);
	return path[0] ? 0 : 77;
}
