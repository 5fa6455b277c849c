/* init.c: start-up: knobs, heap, fork handlers; and when to stand down.
 *
 * Reached by the first allocation of the process, which may come from ld.so before any
 * constructor, and by our constructor. The only file that calls dlsym, in the constructor or
 * later: it may call calloc.
 *
 * Standing down: every function of ours passes the call on to the next library's. The hot path
 * needs no test for it: the heap is never started, so its magazines and granules stay empty. If
 * allocations came before the constructor found the reason, the heap exists; its blocks stay
 * valid and can be freed here, and no new ones are made.
 */
#include "preload/preload.h"

#include "core/cache.h"
#include "core/heap.h"
#include "core/hooks.h"
#include "core/knobs.h"
#include "core/report.h"
#include "core/scavenge.h"
#include "core/verify.h"

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

struct next next;

extern char **environ;

static struct {
	struct lock lock;                       /* one thread starts the library */
	_Atomic bool is_done;
	bool is_running;                        /* the lock's holder is in it */
	bool stands_down;
} start = { .lock = LOCK_INIT(LOCK_HELPER) };

/* Defined where a sanitizer's runtime is in the process. */
extern void __asan_init(void) __attribute__((weak));
extern void __hwasan_init(void) __attribute__((weak));
extern void __lsan_init(void) __attribute__((weak));
extern void __msan_init(void) __attribute__((weak));
extern void __tsan_init(void) __attribute__((weak));

/* Who else must own malloc in this process; NULL: nobody. */
static const char *rival(void)
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
	for (char **v = environ; v && *v; v++) {
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

static void fork_child(void)
{
	cache_fork_child();
	scavenge_fork_child();
	threads_fork_child();
}

static void do_start(void)
{
	const char *who = rival();

	knobs_read(environ, getauxval(AT_SECURE));
	if (who) {
		stand_down(who);
		return;
	}
	hooks.thread_attached = threads_attached;
	hooks.start_helper = threads_start_helper;
	if (!heap_init()) {
		report_line("no address space for a heap", NULL);
		return;
	}
	cache_init();
	threads_init();
	/* As early as can be: handlers registered before ours run inside our locks. */
	pthread_atfork(cache_fork_prepare, cache_fork_parent, fork_child);
}

static void start_once(void)
{
	/* acquire: pairs with the release below. */
	if (atomic_load_explicit(&start.is_done, memory_order_acquire) || lock_held(&start.lock))
		return;                         /* held: an allocation from inside do_start() */
	lock_take(&start.lock);
	if (!start.is_running) {
		start.is_running = true;
		do_start();
		/* release: what was started is there. */
		atomic_store_explicit(&start.is_done, true, memory_order_release);
	}
	lock_drop(&start.lock);
}

/* core's table is filled before any constructor, by the loader. */
struct hooks hooks = { .start = start_once };

/* Is the name bound to us? */
static bool is_ours(const char *name, const void *ours)
{
	return find(RTLD_DEFAULT, name) == ours;
}

/* A program with some functions of a malloc of its own, and ours for the rest, would free blocks
 * of one with the other. */
static void check_takeover(void)
{
	const struct { const char *name; const void *ours; } family[] = {
		{ "malloc", (void *)malloc }, { "free", (void *)free },
		{ "calloc", (void *)calloc }, { "realloc", (void *)realloc },
		{ "memalign", (void *)memalign }, { "aligned_alloc", (void *)aligned_alloc },
		{ "posix_memalign", (void *)posix_memalign }, { "valloc", (void *)valloc },
		{ "malloc_usable_size", (void *)malloc_usable_size },
	};
	const size_t n = sizeof family / sizeof *family;
	size_t nours = 0;

	for (size_t i = 0; i < n; i++)
		nours += is_ours(family[i].name, family[i].ours);
	if (nours > 0 && nours < n)
		stand_down("the program has a part of a malloc of its own");
}

void init_find_dlopen(void)
{
	*(void **)&next.dlopen = find(RTLD_NEXT, "dlopen");
}

static __attribute__((constructor)) void constructor(void)
{
	start_once();
	init_find_dlopen();
	if (!start.stands_down)
		check_takeover();
}

static __attribute__((destructor)) void destructor(void)
{
	if (start.stands_down || !cache_is_started())
		return;
	if (knobs.verify)
		verify_all();
	if (knobs.stats)
		info_print();
}

EXPORT const char *spangc_version(void)
{
	return SPANGC_VERSION;
}
