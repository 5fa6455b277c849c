/* leaks_signals.c: in mode leaks each deadly signal with its default action reports and kills as ever;
 * a fault or abort() kills without; signal() and its relatives tell nothing of our handlers; who reads
 * the report may be gone; what comes while the report is written waits.
 *   leaks: it sets the mode itself
 */
#include "tests/process/process.h"

#include <pthread.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#define SUMMARY "SUMMARY: spangc: 48 byte(s) leaked in 1 allocation(s).\n"
#define STOP (SIGRTMAX - 4)

typedef void handler_fn(int signo);

extern handler_fn *bsd_signal(int signo, handler_fn *handler);
extern handler_fn *ssignal(int signo, handler_fn *handler);

static int deadly[100];
static unsigned ndeadly;

static void find_deadly(void)
{
	static const int some[] = { SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM,
	                            SIGSTKFLT, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGIO, SIGPWR };

	for (size_t i = 0; i < COUNT(some); i++)
		deadly[ndeadly++] = some[i];
	deadly[ndeadly++] = SIGRTMIN;
	deadly[ndeadly++] = SIGRTMIN + 7;
	deadly[ndeadly++] = SIGRTMAX;
}

static __attribute__((noinline)) void leak(size_t nbytes)
{
	memset(hide(malloc(nbytes)), 0, nbytes);
}

static __attribute__((noinline)) void wipe(void)
{
	char room[4096];

	memset(room, 0, sizeof room);
	hide(room);
}

static void in_handler(int signo)
{
	(void)signo;
}

static void check_unseen(handler_fn *(*set)(int signo, handler_fn *handler), int signo)
{
	CHECK(set(signo, in_handler) == SIG_DFL);
	CHECK(set(signo, SIG_IGN) == in_handler);
	CHECK(set(signo, SIG_DFL) == SIG_IGN);
	CHECK(set(signo, SIG_DFL) == SIG_DFL);
}

/* After these every signal has its default action again, and still reports. */
static void check_all_unseen(void)
{
	for (unsigned i = 0; i < ndeadly; i++) {
		check_unseen(signal, deadly[i]);
		check_unseen(bsd_signal, deadly[i]);
		check_unseen(ssignal, deadly[i]);
		check_unseen(sysv_signal, deadly[i]);
		check_unseen(sigset, deadly[i]);
	}
	check_unseen(signal, STOP);
	CHECK(sighold(STOP) == 0 && sigignore(STOP) == 0);
}

static void *write_to_nobody(void *arg)
{
	int fd[2];

	CHECK(pipe(fd) == 0 && close(fd[0]) == 0);
	CHECK(write(fd[1], "", 1) == -1);
	return arg;
}

static void *end_too(void *arg)
{
	usleep(1000);
	kill(getpid(), SIGTERM);
	return arg;
}

static void end(const char *how)
{
	pthread_t thread;
	int signo = atoi(how);

	leak(48);
	wipe();
	if (signo == SIGPIPE)
		write_to_nobody(NULL);
	if (!strcmp(how, "null"))
		*(volatile int *)hide(NULL) = 1;
	if (!strcmp(how, "abort"))
		abort();
	if (!strcmp(how, "unheard")) {          /* who reads stderr has left */
		int fd[2];

		CHECK(pipe(fd) == 0 && close(fd[0]) == 0 && dup2(fd[1], 2) == 2);
		exit(3);
	}
	if (!strcmp(how, "meanwhile")) {
		CHECK(pthread_create(&thread, NULL, end_too, NULL) == 0);
		exit(0);
	}
	kill(getpid(), signo);
	pause();
}

static void set_leaks(void)
{
	struct rlimit unlimited = { 0, RLIM_INFINITY };

	setenv("SPANGC_MODE", "leaks", 1);
	getrlimit(RLIMIT_CORE, &unlimited);
	unlimited.rlim_cur = unlimited.rlim_max;
	setrlimit(RLIMIT_CORE, &unlimited);
	CHECK(chdir(getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp") == 0);
}

static void set_nothing(void)
{
	set_leaks();
	unsetenv("LD_PRELOAD");
}

static bool has_report(const struct outcome *o)
{
	const char *first = strstr(o->err, SUMMARY);

	return first && !strstr(first + 1, SUMMARY);
}

/* As without the library: core dump included, where there are any here. */
static void ends(const char *how, bool is_reported)
{
	struct outcome with, without;

	run_self(&with, how, set_leaks);
	run_self(&without, how, set_nothing);
	CHECKF(with.status == without.status, "%s: %x, not %x: %s", how, (unsigned)with.status,
	       (unsigned)without.status, with.err);
	CHECKF(has_report(&with) == is_reported && (is_reported || !*with.err), "%s: %s", how, with.err);
}

int main(int argc, char **argv)
{
	char number[20];
	struct outcome o;

	find_deadly();
	if (argc > 1) {
		watchdog(100);
		signal(SIGALRM, SIG_DFL);
		alarm(0);
		check_all_unseen();
		end(argv[1]);
		return 1;
	}
	if (!preloaded_library())
		SKIP("runs with the library only");
	watchdog(100);
	for (unsigned i = 0; i < ndeadly; i++) {
		sprintf(number, "%d", deadly[i]);
		ends(number, true);
	}
	ends("null", false);
	ends("abort", false);
	ends("unheard", false);
	for (int i = 0; i < 10; i++) {
		run_self(&o, "meanwhile", set_leaks);
		CHECKF(has_report(&o), "%x: %s", (unsigned)o.status, o.err);
	}
	return 0;
}
