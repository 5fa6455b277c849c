/* exits.c: the ends of a process in mode leaks, and the reports written there and on demand.
 *
 *     exit(), the end of main    last of all, behind destructors of libraries: handlers run in the
 *                                reverse order of their registration, and ours is registered by a
 *                                constructor, before libc's for the destructors
 *     quick_exit()               last of the handlers for it
 *     _exit(), _Exit()           wrapped
 *     SIGTERM, SIGINT, SIGHUP    where the program left the default action: the report, then that
 *                                action, so that the status stays "killed by"
 * A child of vfork() ends by _exit() with our memory: it is known by its pid, and reports nothing.
 *
 * Not seen: the system calls themselves, SIGKILL, other deadly signals, exec.
 */
#include "preload/leaks.h"
#include "preload/preload.h"

#include "core/knobs.h"
#include "core/os.h"
#include "core/report.h"
#include "scan/leaks_report.h"
#include "scan/threads.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATH_BYTES 4096

extern char **environ;

extern int __sigaction(int signo, const struct sigaction *new, struct sigaction *old);

static const int deadly[] = { SIGTERM, SIGINT, SIGHUP };

static struct {
	/* Constant after exits_start(); the pid changes in a child of fork. */
	pid_t pid;                              /* 0: nothing is reported */
	uint64_t start_ns;
	char helper[PATH_BYTES];                /* "": there is none */

	/* Any thread, atomic. */
	_Atomic bool is_busy;                   /* with a report */
	_Atomic bool is_over;                   /* the one at exit was written */
} exits;

/* The folder of the library, as it was at the start: its name may be relative. */
static size_t find_folder(char *path)
{
	char link[] = "/proc/self/fd/0123456789";
	struct text t = { 0 };
	Dl_info info;
	ssize_t n = -1;
	int fd = -1;

	if (dladdr((void *)exits_start, &info) && info.dli_fname)
		fd = open(info.dli_fname, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return 0;
	text_str(&t, "/proc/self/fd/");
	text_dec(&t, (uint64_t)fd);
	memcpy(link, t.buf, t.len + 1);         /* the rest of the buffer is zero */
	n = readlink(link, path, PATH_BYTES - 1);
	close(fd);
	path[n > 0 ? n : 0] = '\0';

	char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash + 1 - path) : 0;
}

/* Beside the library, in the repository that it was built in, or installed. */
static void find_helper(void)
{
	static const char *const places[] = {
		"scripts/spangclib/symbols.py", "../../scripts/spangclib/symbols.py",
		"../share/spangc/scripts/spangclib/symbols.py",
		"../../share/spangc/scripts/spangclib/symbols.py",
	};
	size_t len = find_folder(exits.helper);

	for (size_t i = 0; len && i < sizeof places / sizeof *places; i++) {
		if (len + strlen(places[i]) >= PATH_BYTES)
			break;
		strcpy(exits.helper + len, places[i]);
		if (!access(exits.helper, X_OK))
			return;
	}
	exits.helper[0] = '\0';
}

/* Bytes leaked, as leaks_report() says. */
static uint64_t report(const char *when)
{
	int kept = errno;

	/* acquire: the report before is done. */
	if (!exits.pid || getpid() != exits.pid
	    || atomic_exchange_explicit(&exits.is_busy, true, memory_order_acquire))
		return 0;

	uint64_t nbytes = leaks_report(&(struct leaks_request){
		.when = when,
		.version = SPANGC_VERSION,
		.fallback = info_stderr(),
		.helper = exits.helper[0] ? exits.helper : NULL,
		.env = environ,
		.ms = (os_now_ns() - exits.start_ns) / 1000000,
	});

	/* release: pairs with the acquire above. */
	atomic_store_explicit(&exits.is_busy, false, memory_order_release);
	errno = kept;
	return nbytes;
}

/* The report at exit, once. The status to end with. */
static int finish(int status, const char *when)
{
	/* relaxed: who comes second has nothing to do. */
	if (!exits.pid || getpid() != exits.pid
	    || atomic_exchange_explicit(&exits.is_over, true, memory_order_relaxed))
		return status;
	return report(when) && status == 0 ? (int)knobs.exitcode : status;
}

/* exit() within a handler of exit() goes on with the handlers that are left, in libc 2.36. */
static void at_exit(int status, void *arg)
{
	int wanted = finish(status, "exit");

	(void)arg;
	if (wanted != status)
		exit(wanted);
}

static void at_quick_exit_run(void)
{
	finish(0, "exit");
}

EXPORT void _exit(int status)
{
	status = finish(status, "exit");
	for (;;)
		syscall(SYS_exit_group, status);
}

EXPORT void _Exit(int status)
{
	_exit(status);
}

/* --- deadly signals --- */

static void die_of(int signo)
{
	struct sigaction default_action = { .sa_handler = SIG_DFL };

	finish(0, "signal");
	__sigaction(signo, &default_action, NULL);
	raise(signo);                           /* it is blocked until we return */
}

static const struct sigaction *own_action(void)
{
	static struct sigaction action;

	action.sa_handler = die_of;
	action.sa_flags = SA_ONSTACK;
	sigfillset(&action.sa_mask);
	sigdelset(&action.sa_mask, scan_threads_signal());
	return &action;
}

static bool is_deadly(int signo)
{
	for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) {
		if (signo == deadly[i])
			return exits.pid;
	}
	return false;
}

const struct sigaction *exits_replace(int signo, const struct sigaction *new)
{
	bool is_default = new && !(new->sa_flags & SA_SIGINFO) && new->sa_handler == SIG_DFL;

	return is_default && is_deadly(signo) ? own_action() : new;
}

void exits_hide(struct sigaction *old)
{
	if (!(old->sa_flags & SA_SIGINFO) && old->sa_handler == die_of)
		*old = (struct sigaction){ .sa_handler = SIG_DFL };
}

static void catch_deadly(void)
{
	for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) {
		struct sigaction old;

		if (!__sigaction(deadly[i], NULL, &old) && old.sa_handler == SIG_DFL
		    && !(old.sa_flags & SA_SIGINFO))
			__sigaction(deadly[i], own_action(), NULL);
	}
}

/* --- start, fork, demand --- */

void exits_start(void)
{
	exits.pid = getpid();
	exits.start_ns = os_now_ns();
	find_helper();
	on_exit(at_exit, NULL);
	at_quick_exit(at_quick_exit_run);
	catch_deadly();
}

/* A report of its own at its exit, whatever its parent was doing. */
void exits_fork_child(void)
{
	if (!exits.pid)
		return;
	exits.pid = getpid();
	/* relaxed, both: the child has one thread. */
	atomic_store_explicit(&exits.is_busy, false, memory_order_relaxed);
	atomic_store_explicit(&exits.is_over, false, memory_order_relaxed);
}

uint64_t exits_report_now(void)
{
	return report("demand");
}

int exits_finish(int status)
{
	return finish(status, "demand");
}
