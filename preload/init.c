/* init.c: start-up: knobs, heap, fork handlers; and when to stand down.
 *
 * Reached by the first allocation of the process, which may come from ld.so before any
 * constructor, and by our constructor. The only file that calls dlsym, in the constructor or
 * later: it may call calloc. Most processes never need it: what the program's names lead to the
 * loader writes into malloc_family, and dlopen is looked for when it is called.
 *
 * Standing down: every function of ours passes the call on to the next library's. The hot path
 * needs no test for it: the heap is never started, so its magazines and granules stay empty. If
 * allocations came before the constructor found the reason, the heap exists; its blocks stay
 * valid and can be freed here, and no new ones are made.
 */
#include "preload/collector.h"
#include "preload/imports.h"
#include "preload/leaks.h"
#include "preload/preload.h"
#include "preload/reporter.h"

#include "core/cache.h"
#include "core/heap.h"
#include "core/hooks.h"
#include "core/knobs.h"
#include "core/marks.h"
#include "core/report.h"
#include "core/scavenge.h"
#include "core/sweep.h"
#include "core/verify.h"
#include "scan/loaded.h"

#include <dlfcn.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

struct next next;

extern char **environ;

/* The loader's: the stack as the kernel left it. */
extern void *__libc_stack_end __attribute__((weak));

static struct {
	struct lock lock;                       /* one thread starts the library */
	_Atomic bool is_done;
	bool has_read;                          /* the environment */
	bool stands_down;
	_Atomic bool has_family;                /* false until it is known */
} start = { .lock = LOCK_INIT(LOCK_HELPER) };

/* Defined where a sanitizer's runtime is in the process. */
extern void __asan_init(void) __attribute__((weak));
extern void __hwasan_init(void) __attribute__((weak));
extern void __lsan_init(void) __attribute__((weak));
extern void __msan_init(void) __attribute__((weak));
extern void __tsan_init(void) __attribute__((weak));

/* libc sets environ in its constructor; before, it is where the kernel left it on the stack, behind
 * the arguments. */
static char **environment(void)
{
	if (environ)
		return environ;
	if (!&__libc_stack_end)
		return NULL;

	long argc = *(long *)__libc_stack_end;

	return (char **)__libc_stack_end + 1 + argc + 1;
}

/* Who else must own malloc in this process; NULL: nobody. */
static const char *rival(char **env)
{
	if (__asan_init)
		return "AddressSanitizer";
	if (__hwasan_init)
		return "HWAddressSanitizer";
	if (__tsan_init)
		return "ThreadSanitizer";
	if (__msan_init)
		return "MemorySanitizer";
	if (__lsan_init)
		return "LeakSanitizer";
	for (char **v = env; v && *v; v++) {
		if (strncmp(*v, "LD_PRELOAD=", 11) == 0 && strstr(*v, "vgpreload"))
			return "Valgrind";
	}
	return NULL;
}

static void *find(void *where, const char *name)
{
	return dlsym(where, name);
}

/* The next library's functions take over, for good. */
static void stand_down(const char *why)
{
	start.stands_down = true;
	hooks.start = NULL;
	*(void **)&next.malloc = find(RTLD_NEXT, "malloc");
	*(void **)&next.calloc = find(RTLD_NEXT, "calloc");
	*(void **)&next.realloc = find(RTLD_NEXT, "realloc");
	*(void **)&next.memalign = find(RTLD_NEXT, "memalign");
	*(void **)&next.malloc_usable_size = find(RTLD_NEXT, "malloc_usable_size");
	*(void **)&next.free = find(RTLD_NEXT, "free");
	hooks.free_elsewhere = next.free;
	cache_stop();
	report_line("standing down: ", why, NULL);
}

static void fork_prepare(void)
{
	loaded_fork_prepare();
	reporter_fork_prepare();
	collector_fork_prepare();
	imports_fork_prepare();
	cache_fork_prepare();
}

static void fork_parent(void)
{
	cache_fork_parent();
	imports_fork_parent();
}

static void fork_child(void)
{
	imports_fork_child();
	reports_fork_child();
	eintr_fork_child();
	exits_fork_child();
	cache_fork_child();
	sweep_fork_child();
	scavenge_fork_child();
	threads_fork_child();
	collector_fork_child();
	reporter_fork_child();
}

static void read_environment(void)
{
	char **env = environment();
	const char *who = rival(env);

	if (env)
		knobs_read(env, getauxval(AT_SECURE));
	if (who)
		stand_down(who);
}

/* False: try again at the next allocation. */
static bool start_heap(void)
{
	static bool is_said;

	if (!heap_init()) {
		if (!is_said)
			report_line("no address space for a heap", NULL);
		is_said = true;
		return false;
	}
	if (leaks_are_on())
		leaks_start();
	hooks.thread_attached = threads_attached;
	hooks.start_helper = threads_start_helper;
	cache_init();
	threads_init();
	/* As early as can be: handlers registered before ours run inside our locks. */
	pthread_atfork(fork_prepare, fork_parent, fork_child);
	return true;
}

static void start_once(void)
{
	/* acquire: pairs with the release below. */
	if (atomic_load_explicit(&start.is_done, memory_order_acquire) || lock_held(&start.lock))
		return;                         /* held: an allocation from in here */
	lock_take(&start.lock);
	if (!start.has_read) {
		start.has_read = true;
		read_environment();
	}
	/* relaxed: the lock orders it. */
	if (!atomic_load_explicit(&start.is_done, memory_order_relaxed)
	    && (start.stands_down || start_heap()))
		/* release: what was started is there. */
		atomic_store_explicit(&start.is_done, true, memory_order_release);
	lock_drop(&start.lock);
}

/* core's table is filled before any constructor, by the loader. */
struct hooks hooks = { .start = start_once };

/* A program at a fixed address that takes a function's address has an entry of its own for it,
 * which is found in our place and leads to us: its symbol has a value but no definition. */
static bool is_entry(const void *address)
{
	const ElfW(Sym) *symbol = NULL;
	Dl_info info;

	return address && dladdr1(address, &info, (void **)&symbol, RTLD_DL_SYMENT) && symbol
	       && symbol->st_shndx == SHN_UNDEF;
}

bool init_has_family(void)
{
	/* relaxed: as in check_takeover(). */
	return atomic_load_explicit(&start.has_family, memory_order_relaxed);
}

/* A program with some functions of a malloc of its own, and ours for the rest, would free blocks
 * of one with the other. */
static void check_takeover(void)
{
	unsigned nours = 0, n = 0;

	for (const struct own_function *f = malloc_family; f->address; f++, n++) {
		nours += f->found == f->address || is_entry(f->found);
	}
	/* relaxed: nothing else comes with it. */
	atomic_store_explicit(&start.has_family, nours == n, memory_order_relaxed);
	if (nours > 0 && nours < n)
		stand_down("the program has a part of a malloc of its own");
}

void init_find_dlopen(void)
{
	*(void **)&next.dlopen = find(RTLD_NEXT, "dlopen");
	*(void **)&next.dlclose = find(RTLD_NEXT, "dlclose");
}

void *init_find_next(const char *name)
{
	return find(RTLD_NEXT, name);
}

bool init_is_unclaimed(const char *name, const void *next_one)
{
	const void *first = find(RTLD_DEFAULT, name);

	return first == next_one || is_entry(first);
}

void *init_find_in(const char *library, const char *name)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);

	return handle ? find(handle, name) : NULL;
}

static __attribute__((constructor)) void constructor(void)
{
	start_once();
	if (!start.stands_down)
		check_takeover();
	if (leaks_are_looked_for() && !start.stands_down)
		leaks_start_looking();
	if (marks_are_on() && !start.stands_down)
		collector_start();
}

static __attribute__((destructor)) void destructor(void)
{
	if (start.stands_down || !cache_is_started())
		return;
	if (knobs.mode == KNOB_MODE_GC)
		control_remove();               /* mode leaks: by exits.c, after its report */
	if (knobs.verify) {
		collector_stop();               /* who may be sweeping */
		verify_all();
	}
	if (knobs.stats)
		info_print();
}

EXPORT const char *spangc_version(void)
{
	return SPANGC_VERSION;
}
