/* gc_control.c: in mode gc the socket of SPANGC_CONTROL goes with the process, however that ends by itself,
 * also when it becomes another program; a child of vfork() leaves it alone, and so does the process if
 * another file has its name by then. What a process leaves that was killed is replaced by the next one. And
 * where nothing could be reclaimed three times in a row one line says why.
 *   leaks: it sets the mode itself
 *   timeout: 120
 */
#include "tests/process/process.h"

#include "preload/spangc.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#define TRIES 1000

static char path[] = "/tmp/spangc-test-XXXXXX";
static char *args[] = { (char *)"true", NULL };

/* The reporter makes it, a moment after the start. */
static bool is_there(bool wanted)
{
	for (unsigned i = 0; i < TRIES && !access(path, F_OK) != wanted; i++)
		sleep_ms(10);
	return !access(path, F_OK);
}

static void end(const char *how)
{
	CHECK(is_there(true));
	if (!strcmp(how, "main"))
		return;
	if (!strcmp(how, "exit"))
		exit(0);
	if (!strcmp(how, "quick_exit"))
		quick_exit(0);
	if (!strcmp(how, "_exit"))
		_exit(0);
	if (!strcmp(how, "_Exit"))
		_Exit(0);
	if (!strcmp(how, "exec"))
		execv("/bin/true", args);
	if (!strcmp(how, "replaced")) {
		char other[] = "/tmp/spangc-test-XXXXXX";

		CHECK(mkstemp(other) >= 0 && rename(other, path) == 0);
		_exit(0);
	}
	if (!strcmp(how, "vfork")) {
		pid_t child = vfork();
		int status;

		if (child == 0)
			_exit(0);
		CHECK(waitpid(child, &status, 0) == child && status == 0);
		CHECK(!access(path, F_OK));
		return;
	}
	if (!strcmp(how, "kill"))
		raise(SIGTERM);
	CHECK(!"a way to end");
}

/* What a process left that was killed has the name, until the reporter has made a new one. */
static void be_asked(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), error = -1;

	strcpy(a.sun_path, path);
	for (unsigned i = 0; i < TRIES && error; i++) {
		error = connect(fd, (struct sockaddr *)&a, sizeof a);
		if (error)
			sleep_ms(10);
	}
	CHECK(!error);
}

static _Atomic bool is_deaf, is_over;

static void *be_deaf(void *arg)
{
	uint64_t all = ~UINT64_C(0);

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof all);
	is_deaf = true;
	while (!is_over)
		sleep_ms(10);
	return arg;
}

static void fail(void)
{
	pthread_t t;

	CHECK(pthread_create(&t, NULL, be_deaf, NULL) == 0);
	while (!is_deaf)
		sleep_ms(1);
	for (unsigned i = 0; i < 5; i++)
		CHECK(spangc_collect() == 0);
	is_over = true;
	CHECK(pthread_join(t, NULL) == 0);
}

int main(int argc, char **argv)
{
	static const char *const ways[] = { "main", "exit", "quick_exit", "_exit", "_Exit", "exec", "vfork" };
	struct outcome o;

	if (!preloaded_library())
		SKIP("runs with the library only");
	watchdog(100);
	if (argc > 1 && !strcmp(argv[1], "fail")) {
		fail();
		return 0;
	}
	if (argc > 1) {
		strcpy(path, getenv("SPANGC_CONTROL"));
		if (!strcmp(argv[1], "after"))
			be_asked();
		else
			end(argv[1]);
		return 0;
	}
	CHECK(setenv("SPANGC_MODE", "gc", 1) == 0);
	run_self(&o, "fail", NULL);
	CHECKF(ended_well(&o) && o.nlines == 1
	       && strstr(o.err, "nothing is reclaimed: a thread did not stop"), "%s", o.err);

	int fd = mkstemp(path);

	CHECK(fd >= 0 && unlink(path) == 0);
	CHECK(setenv("SPANGC_CONTROL", path, 1) == 0);
	for (size_t i = 0; i < COUNT(ways); i++) {
		run_self(&o, ways[i], NULL);
		CHECKF(ended_well(&o), "%s: %s", ways[i], o.err);
		CHECKF(access(path, F_OK) && errno == ENOENT, "%s: the socket is still there", ways[i]);
	}
	run_self(&o, "kill", NULL);
	CHECK(o.status == SIGTERM && !access(path, F_OK));
	run_self(&o, "after", NULL);
	CHECKF(ended_well(&o), "after: %s", o.err);
	CHECK(access(path, F_OK) && errno == ENOENT);
	run_self(&o, "replaced", NULL);
	CHECKF(ended_well(&o), "%s", o.err);
	CHECKF(unlink(path) == 0, "a file that was not ours is gone");
	return 0;
}
