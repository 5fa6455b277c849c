/* hooks.h: what core asks of the layers above it.
 *
 * A table of function pointers, filled before the first allocation or left NULL; called only from
 * COLD functions, with no lock held.
 */
#ifndef CORE_HOOKS_H
#define CORE_HOOKS_H

#include "core/base.h"

struct record;

struct hooks {
	/* The first allocation, before any constructor perhaps: read the knobs, start the heap. */
	void (*start)(void);
	/* The calling thread has a cache now: call cache_detach() when it ends. May allocate. */
	void (*thread_attached)(void);
	/* Free memory waits: start the helper, which calls scavenge_help(). `caller` is where
	 * malloc or free was called from. False: not from there, ask again. May allocate. */
	bool (*start_helper)(const void *caller);
	/* In mode gc: the program allocated as much as it was granted (budget.h); `caller` as above. May
	 * allocate, and stop the world. */
	void (*budget_spent)(const void *caller);
	/* In mode gc: most of these pages are going to be written soon, from memory that was used before.
	 * The locks of a cache may be held. */
	void (*will_write)(uintptr_t from, uintptr_t to);
	/* In mode leaks: a block that a report called leaked is freed. */
	void (*freed_reported)(const struct record *r);
	/* In mode gc: the program freed a block that was reclaimed; its stack, after the line that says so. */
	void (*tell_stack)(uint32_t stack);
	/* The library stands down: a block that is not ours, for the allocator that is used. */
	void (*free_elsewhere)(void *p);
};

/* Defined by who fills it: preload/init.c, or a test. */
extern struct hooks hooks;

#endif
