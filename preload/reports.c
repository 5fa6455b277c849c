/* reports.c: when reports of leaks are written, and by whom.
 *
 *     at the end of the process    by the process itself: exits.c
 *     spangc_leak_report()         by a copy of the process, for which the calling thread waits;
 *                                  by the process itself if the kernel makes no copy
 *
 * One at a time, the next one waits; where the last one waits, no other begins. A child of vfork() has
 * our memory: it is known by its pid, and reports nothing.
 */
#include "preload/imports.h"
#include "preload/preload.h"
#include "preload/report_room.h"
#include "preload/reporter.h"

#include "core/lock.h"
#include "core/os.h"
#include "core/report.h"
#include "core/sigmask.h"
#include "scan/leaks_report.h"
#include "scan/snapshot.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 4096

extern char **environ;

static bool failed_here;                        /* where no memory can be shared */

static struct {
	/* Constant after reports_start(); the pid changes in a child of fork. */
	pid_t pid;                              /* 0: nothing is reported */
	uint64_t start_ns;
	char helper[PATH_BYTES];                /* "": there is none */
	bool *has_failed;                       /* the report under way; copies see it */

	struct lock lock;                       /* one report at a time */

	/* The lock. */
	bool has_said;                          /* that no copies are made */
	bool is_over;                           /* the last one was written */

	/* Any thread, atomic. */
	_Atomic unsigned nlast;                 /* threads that want to write the last one */
} reports = { .lock = LOCK_INIT(LOCK_REPORTS) };

/* The folder of the library, as it was at the start: its name may be relative. */
static size_t find_folder(char *path)
{
	char link[] = "/proc/self/fd/0123456789";
	struct text t = { 0 };
	Dl_info info;
	ssize_t n = -1;
	int fd = -1;

	if (dladdr((void *)reports_start, &info) && info.dli_fname)
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
	size_t len = find_folder(reports.helper);

	for (size_t i = 0; len && i < sizeof places / sizeof *places; i++) {
		if (len + strlen(places[i]) >= PATH_BYTES)
			break;
		strcpy(reports.helper + len, places[i]);
		if (!access(reports.helper, X_OK))
			return;
	}
	reports.helper[0] = '\0';
}

bool reports_are_on(void)
{
	return reports.pid && getpid() == reports.pid;
}

/* With signals blocked, so that no handler wants a report while this thread writes one; but not
 * while it waits, for it must be possible to stop it. False: this very thread is at it, and a fault
 * of ours led here. */
static bool enter(struct sigmask *saved)
{
	while (!lock_held(&reports.lock)) {
		sigmask_block(saved);
		if (lock_try(&reports.lock))
			return true;
		sigmask_restore(saved);
		os_nap_ns(1000000);
	}
	return false;
}

/* As enter(); nor while somebody else wants to write the last report. */
static bool enter_for(const struct leaks_request *request, struct sigmask *saved)
{
	/* relaxed: one that is overlooked is waited for. */
	if (request->goes_on && atomic_load_explicit(&reports.nlast, memory_order_relaxed))
		return false;
	return enter(saved);
}

static void leave(const struct sigmask *saved)
{
	lock_drop(&reports.lock);
	sigmask_restore(saved);
}

static void fill_in(struct leaks_request *request)
{
	*reports.has_failed = false;
	request->has_failed = reports.has_failed;
	request->version = SPANGC_VERSION;
	request->pid = (uint64_t)reports.pid;
	request->fallback = info_stderr();
	request->helper = reports.helper[0] ? reports.helper : NULL;
	request->env = environ;
	request->ms = (os_now_ns() - reports.start_ns) / 1000000;
}

static uint64_t write_here(void *request)
{
	return leaks_report(request);
}

static const char *reason(int error)
{
	switch (error) {
	case EAGAIN: return "too many processes";
	case ENOMEM: return "no memory";
	case EPERM: return "not permitted";
	case ENOSYS: return "no such system call";
	default: return "refused";
	}
}

static void say_refused(int error)
{
	if (reports.has_said)
		return;
	reports.has_said = true;
	report_line("no copy of the process for reports: ", reason(error),
	            "; it stands still while they are made", NULL);
}

static uint64_t write_in_copy(struct leaks_request *request)
{
	struct snapshot s = { .fn = write_here, .arg = request,
	                      .fds = { request->fallback, request->fd } };

	switch (snapshot_run(&s)) {
	case SNAPSHOT_DONE:
		return s.result;
	case SNAPSHOT_REFUSED:
		if (s.error != ENODATA)         /* the program's own wish, and the report tells */
			say_refused(s.error);
		return leaks_report(request);
	default:
		report_line("a report is missing: the copy of the process that was to write it ",
		            s.signo ? "was killed" : "ended", NULL);
		return REPORTS_FAILED;
	}
}

static uint64_t write_last(struct leaks_request *request)
{
	reports.is_over = true;
	return leaks_report(request);
}

struct job {
	struct leaks_request *request;
	uint64_t nbytes;                        /* the result */
};

static void work(void *arg)
{
	struct job *j = arg;

	fill_in(j->request);
	if (j->request->goes_on)
		imports_redirect();             /* modules that were loaded since */
	leaks_report_prepare(j->request);
	if (!j->request->goes_on)
		j->nbytes = write_last(j->request);
	else if (!reports.is_over)
		j->nbytes = write_in_copy(j->request);
	/* Whoever has no socket wants to know what was lost, also if no file would take it. */
	if (*reports.has_failed && j->request->fd >= 0)
		j->nbytes = REPORTS_FAILED;
	leaks_report_finish(j->request);
}

uint64_t reports_write(struct leaks_request *request)
{
	struct job j = { request, REPORTS_FAILED };
	int kept = errno;
	struct sigmask saved;

	if (!reports_are_on() || !enter_for(request, &saved))
		return REPORTS_FAILED;
	report_room_run(work, &j);
	leave(&saved);
	errno = kept;
	return j.nbytes;
}

static uint64_t write_simple(struct leaks_request *request)
{
	uint64_t nbytes = reports_write(request);

	return nbytes == REPORTS_FAILED ? 0 : nbytes;
}

void reports_await(void)
{
	struct sigmask saved;

	if (enter(&saved))
		leave(&saved);
}

uint64_t reports_write_last(const char *when)
{
	uint64_t nbytes;

	reporter_finish();
	/* relaxed, both: see enter_for(). */
	atomic_fetch_add_explicit(&reports.nlast, 1, memory_order_relaxed);
	nbytes = write_simple(&(struct leaks_request){ .when = when, .fd = -1, .format = -1 });
	atomic_fetch_sub_explicit(&reports.nlast, 1, memory_order_relaxed);
	return nbytes;
}

uint64_t reports_write_now(const char *when)
{
	return write_simple(&(struct leaks_request){ .when = when, .fd = -1, .format = -1,
	                                             .goes_on = true });
}

void reports_start(void)
{
	reports.pid = getpid();
	reports.start_ns = os_now_ns();
	find_helper();
	report_room_start();
	snapshot_start();
	reports.has_failed = snapshot_shared(sizeof *reports.has_failed);
	if (!reports.has_failed)
		reports.has_failed = &failed_here;
}

void reports_fork_child(void)
{
	if (!reports.pid)
		return;
	reports.pid = getpid();
	lock_reset_after_fork(&reports.lock);
	reports.is_over = false;
	/* relaxed: there is one thread. */
	atomic_store_explicit(&reports.nlast, 0, memory_order_relaxed);
	snapshot_fork_child();
}
