/* core.h: core without preload, for the tests that are linked with it.
 *
 * Used by tests/unit, tests/prop and tests/race. The program's own malloc stays libc's; core's
 * functions are called by name. A test sets knobs first, then calls core_start() once in its
 * process. hooks is empty until a test fills it.
 */
#ifndef TESTS_CORE_H
#define TESTS_CORE_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "core/block.h"
#include "core/cache.h"
#include "core/central.h"
#include "core/heap.h"
#include "core/hooks.h"
#include "core/knobs.h"
#include "core/large.h"
#include "core/magazine.h"
#include "core/scavenge.h"
#include "core/sigmask.h"
#include "core/spanset.h"

struct hooks hooks;

/* AddressSanitizer's shadow is 20 TiB of address space, and it makes mlock do nothing. */
#ifdef __SANITIZE_ADDRESS__
enum { CORE_HAS_ASAN = true };
#else
enum { CORE_HAS_ASAN = false };
#endif

static inline void core_start(void)
{
	check(heap_init());
	cache_init();
}

/* Mode gc, whose cycles are the test's own. */
static inline void core_start_gc(void)
{
	knobs.mode = KNOB_MODE_GC;
	knobs.stacks = KNOB_OFF;
	core_start();
}

/* The blocks that SPANGC_MIN_ALIGN=8 is about. */
static inline void core_start_min8(void)
{
	knobs.min_align = KNOB_MIN_ALIGN_8;
	core_start();
}

/* A block as preload's malloc makes it; cache_free() frees any. */
static inline void *core_malloc(size_t nbytes)
{
	return nbytes <= SIZECLASS_MAX ? cache_alloc(nbytes)
	                               : large_alloc(nbytes + heap.tail_bytes, 1);
}

/* Pages from the heap, which may grow for them. */
static inline bool core_take_pages(struct pages_cache *cache, page_idx npages,
                                   page_idx align_pages, struct run *run)
{
	return heap_take_pages(cache, npages, align_pages, true, run);
}

static inline void *core_in_thread(void *(*run)(void *), void *arg)
{
	pthread_t thread;
	void *result;

	check(pthread_create(&thread, NULL, run, arg) == 0);
	check(pthread_join(thread, &result) == 0);
	return result;
}

/* From now on the kernel refuses memory (or no longer): growth, maps and commits fail. */
static inline void core_refuse_memory(bool is_refused)
{
	struct rlimit limit;

	check(getrlimit(RLIMIT_DATA, &limit) == 0);
	/* A page, not 0: the kernel takes that for no limit (a workaround for Valgrind). */
	limit.rlim_cur = is_refused ? OS_PAGE_BYTES : limit.rlim_max;
	check(setrlimit(RLIMIT_DATA, &limit) == 0);
}

/* Pages that are not free: in spans, or in caches of pages. */
static inline page_idx core_used_pages(void)
{
	struct sigmask saved;

	heap_enter(&saved);

	page_idx n = heap.pages.npages - heap.pages.nfree;

	heap_leave(&saved);
	return n;
}

static inline void core_verify_cache(struct cache *k, void *arg)
{
	(void)arg;
	spanset_verify(&k->spans);
}

static inline void core_verify_central(const struct spanset *set, void *arg)
{
	(void)arg;
	spanset_verify(set);
}

/* Every structure there is; dies if one is broken. */
static inline void core_verify(void)
{
	struct sigmask saved;

	cache_visit(core_verify_cache, NULL);
	central_visit(core_verify_central, NULL);
	heap_enter(&saved);
	pages_verify(&heap.pages);
	heap_leave(&saved);
}

/* Nothing is allocated any more: does every page come back? Twice: news of a span that changed
 * owners are passed on to an owner that was perhaps looked at before. */
static inline bool core_returns_all_pages(void)
{
	cache_empty_own();
	scavenge_all();
	scavenge_all();
	core_verify();
	return core_used_pages() == 0;
}

#endif
