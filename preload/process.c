/* process.c: calls of the program that would go wrong with a malloc that is not libc's.
 *
 *     dlopen          RTLD_DEEPBIND would bind a plugin to libc's malloc: the flag is dropped
 *     dlclose         in mode leaks the names of what goes are kept
 *     setrlimit,      a limit on address space would count the heap's reservation: what is not
 *     prlimit         used of it goes first
 *     unshare, setns  some of what they do needs a process with one thread: our threads leave
 *                     first
 */
#include "preload/collector.h"
#include "preload/leaks.h"
#include "preload/preload.h"
#include "preload/reporter.h"

#include "core/cache.h"
#include "core/heap.h"
#include "core/knobs.h"
#include "core/os.h"
#include "core/report.h"
#include "scan/modules.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TRIES 100
#define TRY_NS 1000000

static COLD void *dlopen_unbound(const char *file, int mode)
{
	static _Atomic bool is_said;

	/* relaxed: at worst it is said twice. */
	if (knobs.stats && !atomic_exchange_explicit(&is_said, true, memory_order_relaxed))
		report_line("RTLD_DEEPBIND dropped: ", file ? file : "(the program)", NULL);
	return next.dlopen(file, mode & ~RTLD_DEEPBIND);
}

/* Calls the real one last, as a jump: it looks at its caller for the search path. */
EXPORT void *dlopen(const char *file, int mode)
{
	if (unlikely(!next.dlopen))
		init_find_dlopen();
	if (unlikely(mode & RTLD_DEEPBIND) && !next.malloc)
		return dlopen_unbound(file, mode);
	return next.dlopen(file, mode);
}

EXPORT int dlclose(void *handle)
{
	if (unlikely(!next.dlclose))
		init_find_dlopen();
	if (!leaks_are_on())
		return next.dlclose(handle);
	modules_look();

	int result = next.dlclose(handle);

	modules_look();
	return result;
}

/* For this process, a finite limit? Then it must find the reservation gone. */
static void before_limit(pid_t pid, int resource, const struct rlimit *limit)
{
	if (limit && resource == RLIMIT_AS && limit->rlim_cur != RLIM_INFINITY
	    && (pid == 0 || pid == getpid()) && cache_is_started())
		heap_unreserve();
}

/* What both names of libc's come to. */
static int limit(pid_t pid, int resource, const struct rlimit *new, struct rlimit *old)
{
	before_limit(pid, resource, new);
	return (int)syscall(SYS_prlimit64, pid, resource, new, old);
}

EXPORT int setrlimit(__rlimit_resource_t resource, const struct rlimit *new)
{
	return limit(0, (int)resource, new, NULL);
}

EXPORT int prlimit(pid_t pid, enum __rlimit_resource resource, const struct rlimit *new,
                   struct rlimit *old)
{
	return limit(pid, (int)resource, new, old);
}

/* The same under the names that programs with 64-bit offsets use; <sys/resource.h> has them only
 * for such programs. */
EXPORT int set64(__rlimit_resource_t resource, const struct rlimit *new) __asm__("setrlimit64");
EXPORT int prlimit_64(pid_t pid, enum __rlimit_resource resource, const struct rlimit *new,
                      struct rlimit *old) __asm__("prlimit64");

int set64(__rlimit_resource_t resource, const struct rlimit *new)
{
	return limit(0, (int)resource, new, NULL);
}

int prlimit_64(pid_t pid, enum __rlimit_resource resource, const struct rlimit *new,
               struct rlimit *old)
{
	return limit(pid, (int)resource, new, old);
}

/* The kernel counts a thread for a moment after pthread_join() has returned. In there a thread could be
 * cancelled, which it can't be in these calls. */
static int call_alone(long number, long first, long second)
{
	int cancel;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);

	bool had_reporter = reporter_stop(), had_collector = collector_stop();
	unsigned ntries = threads_stop_helper() || had_reporter || had_collector ? TRIES : 1;
	int result;

	do
		result = (int)syscall(number, first, second);
	while (result && errno == EINVAL && --ntries && (os_nap_ns(TRY_NS), true));

	int kept = errno;

	if (had_reporter)
		reporter_resume();
	if (had_collector)
		collector_resume();
	pthread_setcancelstate(cancel, NULL);
	errno = kept;
	return result;
}

EXPORT int unshare(int flags)
{
	return call_alone(SYS_unshare, flags, 0);
}

EXPORT int setns(int fd, int type)
{
	return call_alone(SYS_setns, fd, type);
}
