/* process.c: calls of the program that would go wrong with a malloc that is not libc's.
 *
 *     dlopen          RTLD_DEEPBIND would bind a plugin to libc's malloc: the flag is dropped
 *     unshare, setns  some of what they do needs a process with one thread: the helper leaves first
 */
#include "preload/preload.h"

#include "core/knobs.h"
#include "core/report.h"

#include <dlfcn.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

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
	if (unlikely(!next.dlopen))             /* from a constructor before ours */
		init_find_dlopen();
	if (unlikely(mode & RTLD_DEEPBIND) && !next.malloc)
		return dlopen_unbound(file, mode);
	return next.dlopen(file, mode);
}

EXPORT int unshare(int flags)
{
	threads_stop_helper();
	return (int)syscall(SYS_unshare, flags);
}

EXPORT int setns(int fd, int type)
{
	threads_stop_helper();
	return (int)syscall(SYS_setns, fd, type);
}
