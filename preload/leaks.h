/* leaks.h: blocks with records: what the malloc family does in mode leaks, and in mode gc with
 * SPANGC_STACKS.
 *
 * Each makes a block as its namesake in core does and writes its record. `function` is the exported
 * function that was called, `caller` where from. To be called last, by a jump: then no frames of ours
 * stand between the caller's and this one, which the stack would be found behind, but slower. NULL:
 * no memory, errno says so.
 */
#ifndef PRELOAD_LEAKS_H
#define PRELOAD_LEAKS_H

#include "core/block.h"
#include "core/heap.h"
#include "core/marks.h"

/* Do blocks have records? In mode gc, too, if stacks are kept. False before the first allocation.
 * ctx: any, signal */
static inline bool leaks_are_on(void)
{
	return heap_has_records();
}

/* Is this mode leaks? ctx: any, signal */
static inline bool leaks_are_looked_for(void)
{
	return leaks_are_on() && !marks_are_on();
}

/* ctx: alloc */
SLOW void *leaks_malloc(size_t nbytes, const void *function, const void *caller);
SLOW void *leaks_calloc(size_t nbytes, const void *function, const void *caller);
SLOW void *leaks_malloc_noscan(size_t nbytes, const void *function, const void *caller);

/* `align` is a power of two. ctx: alloc */
SLOW void *leaks_memalign(size_t align, size_t nbytes, const void *function, const void *caller);

/* The allocated block p is made to hold nbytes > 0. NULL: nothing has changed. ctx: alloc */
SLOW void *leaks_realloc(void *p, size_t nbytes, const void *function, const void *caller);

/* Above 0: blocks that the thread makes are to be ignored. */
extern _Thread_local unsigned leaks_ignored;

/* Was the allocated block p, which is `b`, asked for with nbytes, as far as is known? ctx: any */
bool leaks_asked_for(const void *p, const struct block *b, size_t nbytes);

/* Once, where blocks have records: with the heap. In mode leaks, when the loader can load an unwinder.
 * ctx: init */
void leaks_start(void);
void leaks_start_looking(void);

/* The part of the latter that stacks of blocks need. ctx: init */
void leaks_start_unwinding(void);

#endif
