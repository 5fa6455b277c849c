/* leaks_threads.c: each entry of a report says which threads allocated, by the names they have, or had
 * when they ended; a child of fork knows its own and its parent's.
 *   leaks: it sets the mode itself
 */
#include "tests/process/process.h"

#include <pthread.h>

static pthread_barrier_t barrier;

static __attribute__((noinline)) void lose(size_t nbytes)
{
	memset(hide(malloc(nbytes)), 0, nbytes);
}

static __attribute__((noinline)) void wipe(void)
{
	char room[16384];

	memset(room, 0, sizeof room);
	hide(room);
}

static __attribute__((noinline)) void name(const char *text)
{
	CHECK(pthread_setname_np(pthread_self(), text) == 0);
}

static void *lose_and_end(void *arg)
{
	lose(10);
	name(arg);                              /* later than its first block */
	wipe();
	return NULL;
}

static void *lose_and_stay(void *arg)
{
	lose(200);
	name(arg);
	wipe();
	pthread_barrier_wait(&barrier);
	while (arg)
		pause();
	return NULL;
}

static __attribute__((noinline)) void run_threads(void)
{
	pthread_t thread;

	for (unsigned i = 0; i < 12; i++) {
		CHECK(pthread_create(&thread, NULL, lose_and_end, (void *)"ended\"") == 0);
		CHECK(pthread_join(thread, NULL) == 0);
	}
	CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
	CHECK(pthread_create(&thread, NULL, lose_and_stay, (void *)"stays") == 0);
	pthread_barrier_wait(&barrier);
}

static void set_leaks(void)
{
	setenv("SPANGC_MODE", "leaks", 1);
	setenv("SPANGC_STACK_DEPTH", "2", 1);
	unsetenv("SPANGC_REPORT_FORMAT");
}

static void set_json(void)
{
	set_leaks();
	setenv("SPANGC_REPORT_FORMAT", "json", 1);
}

static void says(const char *report, const char *head, const char *line)
{
	const char *entry = strstr(report, head), *end = entry ? strstr(entry, "\n\n") : NULL;
	const char *found = entry ? strstr(entry, line) : NULL;

	CHECKF(found && (!end || found < end), "%s: %s: %s", head, line, report);
}

static int run(const char *how)
{
	if (strcmp(how, "one") != 0)
		run_threads();
	name("first");
	lose(3000);
	wipe();
	if (!strcmp(how, "fork")) {
		pid_t child = fork();

		if (child == 0)
			return 0;
		CHECK(waitpid(child, NULL, 0) == child);
		_exit(0);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct outcome o;

	watchdog(100);
	if (argc > 1)
		return run(argv[1]);
	run_self(&o, "threads", set_leaks);
	says(o.err, "Direct leak of 3000 ", "\n    allocated by thread \"first\"\n");
	says(o.err, "Direct leak of 120 ", "\n    allocated by thread \"ended\\u0022\" and at least 8 others\n");
	says(o.err, "Direct leak of 200 ", "\n    allocated by thread \"stays\"\n");
	run_self(&o, "threads", set_json);
	says(o.err, "\"bytes\":200,", "\"threads\":[{\"number\":14,\"name\":\"stays\"}],\"more_threads\":false");
	run_self(&o, "one", set_leaks);
	CHECKF(strstr(o.err, "Direct leak of 3000 ") && !strstr(o.err, "allocated by"), "%s", o.err);
	run_self(&o, "fork", set_leaks);
	says(o.err, "Direct leak of 3000 ", "\n    allocated by thread \"first\"\n");
	says(o.err, "Direct leak of 120 ", "\n    allocated by thread \"ended\\u0022\" and at least 8 others\n");
	return 0;
}
