/* leaks_ends.c: the report at the end comes while another thread writes one, or was cancelled at it;
 * while another thread is inside dlopen(); on small alternate stacks; with all descriptors in use.
 *
 * timeout: 120
 */
#include "tests/process/process.h"
#include "tests/wipe.h"

#include <dlfcn.h>
#include <pthread.h>

#define SUMMARY "SUMMARY: spangc: 48 byte(s) leaked in 1 allocation(s).\n"

static size_t (*leak_report)(void);

static NOINLINE void leak(size_t nbytes)
{
	memset(hide(malloc(nbytes)), 0, nbytes);
}

static NOINLINE void *report_for_ever(void *arg)
{
	for (;;)
		leak_report();
	return arg;
}

static NOINLINE void *report_cancelled(void *arg)
{
	pthread_cancel(pthread_self());
	leak_report();
	for (;;)
		pause();
	return arg;
}

static pthread_t start(void *(*fn)(void *))
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, fn, NULL) == 0);
	return thread;
}

static int end(const char *how)
{
	*(void **)&leak_report = dlsym(RTLD_DEFAULT, "spangc_leak_report");
	leak(48);
	wipe();
	if (!strcmp(how, "busy")) {
		start(report_for_ever);
		sleep_ms(50);
	}
	if (!strcmp(how, "cancelled"))
		CHECK(pthread_join(start(report_cancelled), NULL) == 0);
	return 0;
}

static void set_leaks(void)
{
	setenv("SPANGC_MODE", "leaks", 1);
	setenv("SPANGC_EXITCODE", "7", 1);
	unsetenv("SPANGC_REPORT_FORMAT");
}

static void ends(const char *how, int status)
{
	struct outcome o;

	run_self(&o, how, set_leaks);
	CHECKF(o.status == status && strstr(o.err, SUMMARY), "%s: %x: %s", how, (unsigned)o.status,
	       o.err);
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		watchdog(20);
		return end(argv[1]);
	}
	ends("busy", W_EXITCODE(7, 0));
	ends("cancelled", W_EXITCODE(7, 0));
	return 0;
}
