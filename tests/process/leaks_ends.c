/* leaks_ends.c: the report at the end comes while another thread writes one, or was cancelled at it, or
 * sends the process a deadly signal; on an alternate stack of 8 KiB, with all descriptors in use; process
 * 1 outlives a deadly signal.
 *
 * timeout: 120
 *   leaks: it sets the mode itself
 */
#include "tests/process/process.h"
#include "tests/wipe.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>

#define SUMMARY "SUMMARY: spangc: 48 byte(s) leaked in 1 allocation(s).\n"

static size_t (*leak_report)(void);

static char report_name[PATH_MAX];

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

static void in_handler(int signo)
{
	_exit(signo == SIGSEGV ? 0 : 1);
}

/* Below it nothing may be touched. */
static void use_small_stack(void)
{
	enum { AROUND = 1 << 20 };
	char *room = mmap(NULL, AROUND, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_t small = { .ss_sp = room + AROUND / 2, .ss_size = 8192 };

	CHECK(room != MAP_FAILED);
	CHECK(mprotect(room + AROUND / 2, small.ss_size, PROT_READ | PROT_WRITE) == 0);
	if (sigaltstack(&small, NULL))
		SKIP("8 KiB are too little for this CPU's signals");
}

static void fault(void)
{
	struct sigaction action = { .sa_handler = in_handler, .sa_flags = SA_ONSTACK };

	CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
	*(volatile int *)hide((void *)64) = 1;  /* not NULL: a sanitizer looks for that */
}

static void use_up_files(void)
{
	struct rlimit limit = { 64, 100 };

	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	while (open("/dev/null", O_RDONLY) >= 0)
		;
}

static void check_limit(void)
{
	struct rlimit limit;

	CHECK(leak_report() == 48);
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 64);
}

static void be_first(void)
{
	int status;
	pid_t child;

	if (unshare(CLONE_NEWPID | CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS))
		SKIP("no pid namespaces");
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
		if (mount("proc", "/proc", "proc", 0, NULL))
			_exit(77);
		return;
	}
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
	syscall(SYS_exit_group, WEXITSTATUS(status));
}

/* The first thread is the one that gets it. */
static void *kill_for_ever(void *arg)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	for (;;) {
		kill(getpid(), SIGTERM);
		sleep_ms(1);
	}
	return arg;
}

static void leave(int signo)
{
	_exit(signo == SIGTERM ? 7 : 1);
}

static int end(const char *how)
{
	if (!strcmp(how, "first"))
		be_first();
	*(void **)&leak_report = dlsym(RTLD_DEFAULT, "spangc_leak_report");
	leak(48);
	wipe();
	if (!strcmp(how, "busy")) {
		start(report_for_ever);
		sleep_ms(50);
	}
	if (!strcmp(how, "cancelled"))
		CHECK(pthread_join(start(report_cancelled), NULL) == 0);
	if (!strcmp(how, "handled"))
		signal(SIGTERM, leave);
	if (!strcmp(how, "killed") || !strcmp(how, "handled"))
		start(kill_for_ever);
	if (strstr(how, "small stack"))
		use_small_stack();
	if (!strcmp(how, "fault, small stack"))
		fault();
	if (!strcmp(how, "TERM, small stack") || !strcmp(how, "first"))
		raise(SIGTERM);
	if (!strcmp(how, "files")) {
		use_up_files();
		check_limit();
	}
	return 0;
}

static void set_leaks(void)
{
	setenv("SPANGC_MODE", "leaks", 1);
	setenv("SPANGC_EXITCODE", "7", 1);
	unsetenv("SPANGC_REPORT_FORMAT");
}

static void set_file(void)
{
	set_leaks();
	setenv("SPANGC_REPORT", report_name, 1);
}

static void ends_with_file(const char *how, int status)
{
	struct outcome o;

	run_self(&o, how, set_file);
	CHECKF(o.status == W_EXITCODE(77, 0) || (o.status == status && strstr(proc_text(report_name), SUMMARY)),
	       "%s: %x: %s", how, (unsigned)o.status, o.err);
	unlink(report_name);
}

static void ends_either(const char *how, int status, int other)
{
	struct outcome o;

	run_self(&o, how, set_leaks);
	if (o.status == W_EXITCODE(77, 0))
		return;
	CHECKF((o.status == status || o.status == other) && strstr(o.err, SUMMARY), "%s: %x: %s", how,
	       (unsigned)o.status, o.err);
}

static void ends(const char *how, int status)
{
	ends_either(how, status, status);
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		watchdog(100);
		return end(argv[1]);
	}
	ends("busy", W_EXITCODE(7, 0));
	ends("cancelled", W_EXITCODE(7, 0));
	for (int i = 0; i < 5; i++) {
		ends_either("killed", W_EXITCODE(0, SIGTERM), W_EXITCODE(7, 0));
		ends("handled", W_EXITCODE(7, 0));
	}
	ends("files", W_EXITCODE(7, 0));
	ends("first", W_EXITCODE(7, 0));
	scratch_template(report_name, sizeof report_name, "report");
	ends_with_file("TERM, small stack", W_EXITCODE(0, SIGTERM));
	ends_with_file("fault, small stack", W_EXITCODE(7, 0));
	return 0;
}
