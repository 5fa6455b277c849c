/* reports.c: when reports of leaks are written, and by whom.
 *
 *     at the end of the process    by the process itself: exits.c
 *     spangc_leak_report()         by the calling thread
 *
 * One at a time. A child of vfork() has our memory: it is known by its pid, and reports nothing.
 */
#include "preload/imports.h"
#include "preload/preload.h"

#include "core/os.h"
#include "core/report.h"
#include "scan/leaks_report.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 4096

extern char **environ;

static struct {
	/* Constant after reports_start(); the pid changes in a child of fork. */
	pid_t pid;                              /* 0: nothing is reported */
	uint64_t start_ns;
	char helper[PATH_BYTES];                /* "": there is none */

	/* Any thread, atomic. */
	_Atomic bool is_busy;                   /* with a report */
} reports;

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

static uint64_t write_report(struct leaks_request *request)
{
	int kept = errno;

	/* acquire: the report before is done. */
	if (!reports_are_on()
	    || atomic_exchange_explicit(&reports.is_busy, true, memory_order_acquire))
		return 0;
	imports_redirect();
	request->version = SPANGC_VERSION;
	request->pid = (uint64_t)reports.pid;
	request->fallback = info_stderr();
	request->helper = reports.helper[0] ? reports.helper : NULL;
	request->env = environ;
	request->ms = (os_now_ns() - reports.start_ns) / 1000000;

	uint64_t nbytes = leaks_report(request);

	/* release: pairs with the acquire above. */
	atomic_store_explicit(&reports.is_busy, false, memory_order_release);
	errno = kept;
	return nbytes;
}

uint64_t reports_write_last(const char *when)
{
	return write_report(&(struct leaks_request){ .when = when, .fd = -1, .format = -1 });
}

uint64_t reports_write_now(const char *when)
{
	return write_report(&(struct leaks_request){ .when = when, .fd = -1, .format = -1 });
}

void reports_start(void)
{
	reports.pid = getpid();
	reports.start_ns = os_now_ns();
	find_helper();
}

void reports_fork_child(void)
{
	if (!reports.pid)
		return;
	reports.pid = getpid();
	/* relaxed: the child has one thread. */
	atomic_store_explicit(&reports.is_busy, false, memory_order_relaxed);
}
