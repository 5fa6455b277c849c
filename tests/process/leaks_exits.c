/* leaks_exits.c: in mode leaks each end of a process reports, once, and keeps its status; a child of
 * fork reports on its own, a child of vfork not at all; the program sees none of our handlers.
 *   leaks: it sets the mode itself
 */
#include "tests/process/process.h"

#include <pthread.h>

#define LEAKED "==ERROR: spangc: detected memory leaks\n"
#define SUMMARY "SUMMARY: spangc: 48 byte(s) leaked in 1 allocation(s).\n"

static void *kept;

static __attribute__((noinline)) void leak(size_t nbytes)
{
	memset(hide(malloc(nbytes)), 0, nbytes);
}

/* Whatever the frames below left on the stack is gone. */
static __attribute__((noinline)) void wipe(void)
{
	char room[4096];

	memset(room, 0, sizeof room);
	hide(room);
}

static void free_kept(void)
{
	free(kept);
}

static void *end_the_process(void *arg)
{
	exit(arg ? 5 : 0);
}

static void in_handler(int signo)
{
	_exit(signo == SIGTERM ? 6 : 1);
}

static void check_unseen(void)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	struct sigaction old;

	for (size_t i = 0; i < COUNT(signals); i++) {
		CHECK(sigaction(signals[i], NULL, &old) == 0);
		CHECK(old.sa_handler == SIG_DFL && old.sa_flags == 0);
	}
}

static void end(const char *how)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	pthread_t thread;

	if (!strcmp(how, "exit"))
		exit(0);
	if (!strcmp(how, "exit 3"))
		exit(3);
	if (!strcmp(how, "_exit"))
		_exit(0);
	if (!strcmp(how, "_Exit 4"))
		_Exit(4);
	if (!strcmp(how, "quick_exit"))
		quick_exit(0);
	if (!strcmp(how, "thread 5")) {
		CHECK(pthread_create(&thread, NULL, end_the_process, (void *)1) == 0);
		pause();
	}
	if (!strcmp(how, "TERM"))
		kill(getpid(), SIGTERM);
	if (!strcmp(how, "INT"))
		kill(getpid(), SIGINT);
	if (!strcmp(how, "HUP")) {              /* set back by the program itself */
		CHECK(sigaction(SIGHUP, &action, NULL) == 0);
		kill(getpid(), SIGHUP);
	}
	if (!strcmp(how, "handler 6")) {
		CHECK(signal(SIGTERM, in_handler) == SIG_DFL || true);
		kill(getpid(), SIGTERM);
	}
	pause();
}

static unsigned occurrences(const char *text, const char *what)
{
	unsigned n = 0;

	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

static void set_leaks(void)
{
	setenv("SPANGC_MODE", "leaks", 1);
	unsetenv("SPANGC_REPORT_FORMAT");
}

static void set_exitcode(void)
{
	set_leaks();
	setenv("SPANGC_EXITCODE", "23", 1);
}

static void ends(const char *how, int status, int status_with_exitcode)
{
	struct outcome o;

	run_self(&o, how, set_leaks);
	CHECKF(o.status == status, "%s: %x: %s", how, (unsigned)o.status, o.err);
	CHECKF(occurrences(o.err, LEAKED) == 1 && occurrences(o.err, SUMMARY) == 1, "%s: %s", how,
	       o.err);
	run_self(&o, how, set_exitcode);
	CHECKF(o.status == status_with_exitcode, "%s: %x: %s", how, (unsigned)o.status, o.err);
}

static void run_special(const char *how)
{
	pid_t child;
	int status;

	if (!strcmp(how, "nothing")) {
		kept = malloc(100);
		atexit(free_kept);
	} else if (!strcmp(how, "fork")) {
		child = fork();
		if (child == 0) {
			leak(48);
			wipe();
			_exit(0);
		}
		CHECK(waitpid(child, &status, 0) == child && status == 0);
	} else if (!strcmp(how, "vfork")) {
		leak(48);
		wipe();
		child = vfork();
		if (child == 0)
			_exit(0);
		CHECK(waitpid(child, &status, 0) == child && status == 0);
	}
	exit(0);
}

static void special(const char *how, unsigned nreports)
{
	struct outcome o;

	run_self(&o, how, set_leaks);
	CHECKF(ended_well(&o), "%s: %x: %s", how, (unsigned)o.status, o.err);
	CHECKF(occurrences(o.err, SUMMARY) == nreports && o.nlines >= nreports * 4
	       && (nreports || !o.nlines), "%s: %s", how, o.err);
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		watchdog(100);
		check_unseen();
		if (strchr("nfv", argv[1][0]))
			run_special(argv[1]);
		leak(48);
		wipe();
		end(argv[1]);
		return 1;
	}
	ends("exit", W_EXITCODE(0, 0), W_EXITCODE(23, 0));
	ends("exit 3", W_EXITCODE(3, 0), W_EXITCODE(3, 0));
	ends("_exit", W_EXITCODE(0, 0), W_EXITCODE(23, 0));
	ends("_Exit 4", W_EXITCODE(4, 0), W_EXITCODE(4, 0));
	ends("quick_exit", W_EXITCODE(0, 0), W_EXITCODE(0, 0));
	ends("thread 5", W_EXITCODE(5, 0), W_EXITCODE(5, 0));
	ends("TERM", W_EXITCODE(0, SIGTERM), W_EXITCODE(0, SIGTERM));
	ends("INT", W_EXITCODE(0, SIGINT), W_EXITCODE(0, SIGINT));
	ends("HUP", W_EXITCODE(0, SIGHUP), W_EXITCODE(0, SIGHUP));
	ends("handler 6", W_EXITCODE(6, 0), W_EXITCODE(6, 0));
	special("nothing", 0);
	special("fork", 1);
	special("vfork", 1);
	return 0;
}
