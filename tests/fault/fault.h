/* fault.h: a workload that must come through any one failed system call, and the arming.
 *
 * The programs here run under LD_PRELOAD="libfault.so libspangc.so" and skip without the first.
 */
#ifndef TESTS_FAULT_H
#define TESTS_FAULT_H

#include "tests/check.h"

#include <malloc.h>
#include <sys/wait.h>

enum { FAULT_EVERY = -1, FAULT_NEVER = 0 };

static const char *const fault_names[] = { "mmap", "munmap", "mprotect", "madvise", "mremap" };

static inline void fault_arm(const char *name, long nth)
{
	void (*arm)(const char *, long) =
		(void (*)(const char *, long))dlsym(RTLD_DEFAULT, "fault_arm");

	if (!arm)
		SKIP("libfault.so is not preloaded");
	arm(name, nth);
}

static inline long fault_hits(void)
{
	return ((long (*)(void))symbol("fault_hits"))();
}

struct workload {
	unsigned char *block[80];
	size_t         size[80];
	long           nrefused;
};

/* A refusal is NULL and ENOMEM, and nothing else. */
static inline void *granted(struct workload *w, void *p)
{
	if (!p) {
		CHECKF(errno == ENOMEM, "errno %d", errno);
		w->nrefused++;
	}
	return p;
}

/* Sizes of all kinds, the larger the rarer. */
static inline size_t workload_size(size_t i)
{
	static const size_t sizes[] = { 24, 500, 3000, 30000, 200000, 16, 1500, 64, 400000, 100 };

	return sizes[i % COUNT(sizes)] * (i % 37 == 8 ? 12 : 1);
}

static inline void *workload_allocate(struct workload *w, size_t i)
{
	size_t nbytes = w->size[i] = workload_size(i);
	unsigned char *p;

	errno = 0;
	switch (i % 4) {
	case 0:
		p = granted(w, calloc(1, nbytes));
		CHECK(!p || all_zero(p, nbytes));
		return p;
	case 1:
		return granted(w, memalign(i % 3 ? 4096 : MIB(2), nbytes));
	default:
		return granted(w, malloc(nbytes));
	}
}

static inline void workload_check(const struct workload *w, size_t i)
{
	CHECKF(!w->block[i] || pattern_holds(w->block[i], w->size[i], i), "block %zu of %zu", i,
	       w->size[i]);
}

/* To twice the size or a third of it; refused, the block must be as it was. */
static inline void workload_resize(struct workload *w, size_t i)
{
	size_t from = w->size[i], to = i % 5 ? from * 2 : from / 3 + 1;
	unsigned char *p;

	if (!w->block[i])
		return;
	errno = 0;
	p = granted(w, realloc(w->block[i], to));
	if (!p) {
		workload_check(w, i);
		return;
	}
	CHECK(pattern_holds(p, from < to ? from : to, i));
	pattern_fill(p, to, i);
	w->block[i] = p;
	w->size[i] = to;
}

/* Everything once: allocate, resize, trim, look, free. Whatever fails, nothing overlaps. */
static inline void workload_run(struct workload *w)
{
	for (size_t i = 0; i < COUNT(w->block); i++) {
		w->block[i] = workload_allocate(w, i);
		if (w->block[i])
			pattern_fill(w->block[i], w->size[i], i);
	}
	for (size_t i = 0; i < COUNT(w->block); i += 2)
		workload_resize(w, i);
	for (size_t i = 0; i < COUNT(w->block); i += 3) {
		workload_check(w, i);
		free(w->block[i]);
		w->block[i] = NULL;
	}
	malloc_trim(0);
	for (size_t i = 0; i < COUNT(w->block); i++) {
		workload_check(w, i);
		free(w->block[i]);
	}
	malloc_trim(0);
}

/* Once more with the kernel willing: nothing may be refused any longer. */
static inline void workload_after(void)
{
	static struct workload w;

	for (size_t i = 0; i < COUNT(fault_names); i++)
		fault_arm(fault_names[i], FAULT_NEVER);
	memset(&w, 0, sizeof w);
	workload_run(&w);
	CHECKF(w.nrefused == 0, "%ld refused after the fault", w.nrefused);
	check_heap_works();
}

#endif
