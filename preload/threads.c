/* threads.c: threads' beginnings and ends, and the helper thread.
 *
 * In the modes that stop threads a new one tells scan/threads.c where its stack is, before it runs
 * what it was made for.
 *
 * Reached from core through hooks: a thread got a cache (its end must be seen), free memory waits
 * (a helper is worth its while). The helper is a thread of libc's, so that setuid() and the like
 * reach it; hence it is never started from inside libc or the loader, which may hold the very
 * locks that pthread_create takes: free() called from there waits for another occasion. A signal
 * handler that interrupted libc there and frees much is not recognised.
 */
#include "preload/collector.h"
#include "preload/imports.h"
#include "preload/leaks.h"
#include "preload/own_thread.h"
#include "preload/preload.h"
#include "preload/reporter.h"

#include "core/cache.h"
#include "core/lock.h"
#include "core/scavenge.h"
#include "scan/loaded.h"
#include "scan/modules.h"
#include "scan/roots.h"
#include "scan/stacks.h"
#include "scan/thread_names.h"
#include "scan/threads.h"

#include <errno.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <threads.h>

#define MODULES_SHUNNED 2

static pthread_key_t key;

static struct {
	struct lock lock;

	/* The lock. */
	pthread_t thread;
	bool is_there;                          /* started and not joined */

	/* Constant after threads_init(): libc's and the loader's code. */
	uintptr_t base[MODULES_SHUNNED], limit[MODULES_SHUNNED];
} helper = { .lock = LOCK_INIT(LOCK_HELPER) };

/* libc calls the destructor again as long as it sets the value, up to this often: last of all
 * destructors the cache goes, so that the others find it. */
static void thread_ends(void *round)
{
	intptr_t n = (intptr_t)round;

	if (n < PTHREAD_DESTRUCTOR_ITERATIONS) {
		pthread_setspecific(key, (void *)(n + 1));
	} else {
		stacks_thread_ends();
		thread_names_end();
		cache_detach();
	}
}

/* Out of the frame of begin(), which is left for good. What libc allocates for it is not the program's:
 * a fork at this moment leaves it to a child that has no such thread. */
static __attribute__((noinline)) struct scan_job announce(struct scan_thread *t)
{
	uintptr_t base = 0;
	size_t nbytes = 0;
	pthread_attr_t attr;

	leaks_ignored++;
	if (!pthread_getattr_np(pthread_self(), &attr)) {
		void *lowest;

		if (!pthread_attr_getstack(&attr, &lowest, &nbytes))
			base = (uintptr_t)lowest;
		pthread_attr_destroy(&attr);
	}
	leaks_ignored--;
	eintr_count();
	stacks_thread_begins(base, base + nbytes);
	return scan_thread_begins(t, base, base + nbytes);
}

static void *begin(void *thread)
{
	struct scan_job job = announce(thread);

	return job.start(job.arg);
}

/* The program gave it, and has it back when the thread has been joined. Else there is none in it. */
static bool has_stack(const pthread_attr_t *attr)
{
	void *lowest;
	size_t nbytes;

	return attr && !pthread_attr_getstack(attr, &lowest, &nbytes)
	       && (uintptr_t)lowest + nbytes != 0;
}

typedef int create_fn(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
                      void *arg);

static create_fn *find_create(void)
{
	static create_fn *_Atomic found;
	/* relaxed: everybody finds the same. */
	create_fn *f = atomic_load_explicit(&found, memory_order_relaxed);

	if (unlikely(!f)) {
		f = (create_fn *)init_find_next("pthread_create");
		atomic_store_explicit(&found, f, memory_order_relaxed);
	}
	return f;
}

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
                          void *arg)
{
	create_fn *create_next = find_create();
	struct scan_thread *t = NULL;

	if (scan_threads_is_on())
		t = scan_thread_plan(start, arg, has_stack(attr));

	if (likely(!t))
		return create_next(thread, attr, start, arg);

	int error = create_next(thread, attr, begin, t);

	if (error) {
		scan_thread_drop(t);
	} else {
		reporter_start_late();
		collector_start_late();
	}
	return error;
}

typedef void any_fn(void);                      /* by way of which functions are cast */

static int begin_c11(void *thread)
{
	struct scan_job job = announce(thread);

	return ((thrd_start_t)(any_fn *)job.start)(job.arg);
}

static struct import thrd_import;

static int our_thrd_create(thrd_t *thread, thrd_start_t start, void *arg)
{
	__typeof__(&thrd_create) create_next = thrd_import.real;
	struct scan_thread *t = scan_thread_plan((void *(*)(void *))(any_fn *)start, arg, false);

	if (!t)
		return create_next(thread, start, arg);

	int result = create_next(thread, begin_c11, t);

	if (result != thrd_success)
		scan_thread_drop(t);
	return result;
}

/* libc's passes by pthread_create(). */
static struct import thrd_import = { "thrd_create", (void *)our_thrd_create, NULL };

void threads_start(void)
{
	imports_add(&thrd_import, 1);
}

void threads_attached(void)
{
	pthread_setspecific(key, (void *)1);
}

static int note_module(struct dl_phdr_info *info, size_t size, void *arg)
{
	const uintptr_t *wanted = arg;
	uintptr_t base = UINTPTR_MAX, limit = 0;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + ph->p_vaddr;

		if (ph->p_type != PT_LOAD)
			continue;
		base = start < base ? start : base;
		limit = start + ph->p_memsz > limit ? start + ph->p_memsz : limit;
	}
	for (int m = 0; m < MODULES_SHUNNED; m++) {
		if (wanted[m] >= base && wanted[m] < limit) {
			helper.base[m] = base;
			helper.limit[m] = limit;
		}
	}
	return 0;
}

void threads_init(void)
{
	/* An address inside libc and one inside the loader. */
	uintptr_t inside[MODULES_SHUNNED] = { (uintptr_t)abort, getauxval(AT_BASE) };

	pthread_key_create(&key, thread_ends);
	dl_iterate_phdr(note_module, inside);
}

static bool is_shunned(const void *caller)
{
	uintptr_t p = (uintptr_t)caller;

	for (int m = 0; m < MODULES_SHUNNED; m++) {
		if (p >= helper.base[m] && p < helper.limit[m])
			return true;
	}
	return !p;
}

bool threads_may_create(const void *caller)
{
	return !is_shunned(caller);
}

static void *help(void *arg)
{
	scavenge_help();
	return arg;
}

static void join(void)
{
	if (helper.is_there)
		pthread_join(helper.thread, NULL);
	helper.is_there = false;
}

bool threads_start_helper(const void *caller)
{
	int kept = errno;

	if (is_shunned(caller) || !lock_try(&helper.lock))
		return false;
	join();                                 /* the one before: it has left */
	helper.is_there = own_thread_create(&helper.thread, help, scan_threads_is_on());
	if (!helper.is_there)
		helper_failed();
	lock_drop(&helper.lock);
	errno = kept;
	return true;
}

bool threads_stop_helper(void)
{
	lock_take(&helper.lock);

	bool was_there = helper.is_there;

	if (was_there)
		helper_stop();
	join();
	lock_drop(&helper.lock);
	return was_there;
}

void threads_fork_child(void)
{
	lock_reset_after_fork(&helper.lock);
	helper.is_there = false;
	stacks_fork_child();
	scan_threads_fork_child();
	roots_fork_child();
	loaded_fork_child();
	modules_fork_child();
	thread_names_fork_child();
}
