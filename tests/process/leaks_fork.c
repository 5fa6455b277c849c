/* leaks_fork.c: a child of fork whose parent's threads were inside the loader allocates and reports all
 * the same, and knows what it loads itself.
 *
 * timeout: 120
 *   leaks: it sets the mode itself
 */
#include "tests/process/process.h"
#include "tests/wipe.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>

#define NFORKS 12

static NOINLINE void leak(size_t nbytes)
{
	memset(hide(malloc(nbytes)), 0, nbytes);
}

static int linger(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)info, (void)size;
	for (int i = 0; i < 1000; i++)
		hide(arg);
	return 0;
}

static void *iterate(void *arg)
{
	for (;;)
		dl_iterate_phdr(linger, NULL);
	return arg;
}

static void *stay(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void start(void *(*fn)(void *))
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, fn, NULL) == 0);
}

static void reap(pid_t child)
{
	int status;

	CHECK(waitpid(child, &status, 0) == child);
	CHECKF(status == 0, "%x", (unsigned)status);
}

/* Each of the children is forked at another moment of the threads. */
static void fork_many(void)
{
	start(iterate);
	start(iterate);
	for (int i = 0; i < NFORKS; i++) {
		pid_t child = fork();

		CHECK(child >= 0);
		if (child == 0) {
			leak(48);
			wipe();
			_exit(0);
		}
		reap(child);
	}
}

static void fork_loader(void)
{
	void (*lose)(size_t nbytes);
	pid_t child;

	start(stay);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		void *plugin = dlopen(beside("libloses_one.so"), RTLD_NOW);

		CHECK(plugin);
		*(void **)&lose = dlsym(plugin, "run");
		CHECK(lose);
		lose(48);
		wipe();
		_exit(0);
	}
	reap(child);
}

static void set_leaks(void)
{
	setenv("SPANGC_MODE", "leaks", 1);
	unsetenv("SPANGC_REPORT_FORMAT");
}

static void set_file(void)
{
	set_leaks();
	setenv("SPANGC_REPORT", "/dev/null", 1);
}

int main(int argc, char **argv)
{
	struct outcome o;

	if (argc > 1) {
		watchdog(100);
		if (!strcmp(argv[1], "many"))
			fork_many();
		else
			fork_loader();
		syscall(SYS_exit_group, 0);
	}
	run_self(&o, "many", set_file);
	CHECKF(ended_well(&o), "%x: %s", (unsigned)o.status, o.err);
	run_self(&o, "loader", set_leaks);
	CHECKF(ended_well(&o) && strstr(o.err, "in loses_one ") && strstr(o.err, "SUMMARY"), "%x: %s",
	       (unsigned)o.status, o.err);
	return 0;
}
