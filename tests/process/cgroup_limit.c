/* cgroup_limit.c: a program with a large free heap lives in a memory cgroup of 96 MiB if
 * SPANGC_MEMORY_LIMIT is 80 MiB; the kernel kills it there without a limit, and with libc's malloc.
 */
#include "tests/process/idle_heaps.h"

#include <sys/stat.h>

#define GROUP_BYTES "100663296"                 /* 96 MiB */

static char group[PATH_MAX];
static const char *limit;

static bool put(const char *name, const char *value)
{
	char path[PATH_MAX + 64];
	int fd;
	bool is_done;

	snprintf(path, sizeof path, "%s/%s", group, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	is_done = write(fd, value, strlen(value)) == (ssize_t)strlen(value);
	close(fd);
	return is_done;
}

static bool make_below(const char *root, const char *limit_name, const char *swap_name,
                       const char *swap_bytes)
{
	snprintf(group, sizeof group, "%s/spangc-test-%d", root, (int)getpid());
	if (mkdir(group, 0755))
		return false;
	if (!put(limit_name, GROUP_BYTES)) {
		rmdir(group);
		return false;
	}
	put(swap_name, swap_bytes);             /* a machine without swap has no such file */
	return true;
}

static bool make_group(void)
{
	return make_below("/sys/fs/cgroup/memory", "memory.limit_in_bytes",
	                  "memory.memsw.limit_in_bytes", GROUP_BYTES)
	       || make_below("/sys/fs/cgroup", "memory.max", "memory.swap.max", "0");
}

static void remove_group(void)
{
	for (unsigned i = 0; i < 100 && rmdir(group); i++)
		sleep_ms(10);
}

static void enter(void)
{
	if (!put("cgroup.procs", "0"))
		_exit(127);
	if (limit)
		setenv("SPANGC_MEMORY_LIMIT", limit, 1);
	else
		unsetenv("LD_PRELOAD");
}

/* How a child ended. NULL: with libc's malloc. */
static int run_with(const char *value)
{
	struct outcome o;

	limit = value;
	run_self(&o, "child", enter);
	if (WIFEXITED(o.status) && WEXITSTATUS(o.status) == 127) {
		remove_group();
		SKIP("the cgroup can't be entered");
	}
	return o.status;
}

static bool is_killed(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

int main(int argc, char **argv)
{
	int limited, unlimited, of_libc;

	if (argc > 1) {
		run_idle_heaps();
		return 0;
	}
	(void)argv;
	if (!make_group())
		SKIP("no memory cgroup can be made: %s", strerror(errno));
	limited = run_with("80M");
	unlimited = run_with("off");
	of_libc = run_with(NULL);
	remove_group();
	CHECKF(limited == 0, "%x", (unsigned)limited);
	CHECKF(is_killed(unlimited), "%x", (unsigned)unlimited);
	CHECKF(is_killed(of_libc), "%x", (unsigned)of_libc);
	return 0;
}
