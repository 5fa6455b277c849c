/* leaks_missed.c: in mode leaks a thread that blocks the signal for stopping runs on, and leaks, while
 * reports are written: they are whole, nothing is written where no room is, and they tell of the thread.
 *
 * timeout: 120
 *   leaks: it sets the mode itself
 */
#include "tests/process/process.h"
#include "preload/spangc.h"

#include <pthread.h>
#include <sys/syscall.h>

#define NREPORTS 4
#define MISSED "1 thread did not answer and ran on: its registers were not seen.\n"

static volatile int is_deaf;

static void *leak(void *arg)
{
	uint64_t all = ~UINT64_C(0);

	/* libc's own calls leave the signal out. */
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, NULL, sizeof all);
	is_deaf = 1;
	for (unsigned round = 0; round < 2000; round++) {
		for (unsigned i = 0; i < 500; i++)
			memset(hide(malloc(16 + i % 64)), 0, 8);
		usleep(500);
	}
	for (;;)                                /* deaf still, however long the reports take */
		pause();
	return arg;
}

static int run_on(void)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, leak, NULL) == 0);
	while (!is_deaf)
		usleep(1000);
	for (unsigned i = 1; i < NREPORTS && spangc_leak_report; i++)
		spangc_leak_report();
	_exit(0);                               /* the last one: by the process itself */
}

static void set_leaks(void)
{
	setenv("SPANGC_MODE", "leaks", 1);
	setenv("SPANGC_STACKS", "off", 1);
	unsetenv("SPANGC_REPORT_FORMAT");
}

static void set_json(void)
{
	set_leaks();
	setenv("SPANGC_REPORT_FORMAT", "json", 1);
}

static unsigned occurrences(const char *text, const char *what)
{
	unsigned n = 0;

	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

int main(int argc, char **argv)
{
	struct outcome o;

	(void)argv;
	watchdog(100);
	if (!preloaded_library())
		SKIP("runs with the library only");
	if (argc > 1)
		return run_on();
	run_self(&o, "text", set_leaks);
	CHECKF(ended_well(&o), "%x: %s", (unsigned)o.status, o.err);
	CHECKF(occurrences(o.err, MISSED) == NREPORTS, "%s", o.err);
	run_self(&o, "json", set_json);
	CHECKF(ended_well(&o), "%x: %s", (unsigned)o.status, o.err);
	CHECKF(occurrences(o.err, "\"threads_missed\":1,") == NREPORTS, "%s", o.err);
	return 0;
}
