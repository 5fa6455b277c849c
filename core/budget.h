/* budget.h: how much the program may allocate until the collector wants to hear of it; only in mode
 * gc.
 *
 * Bytes are counted where slots come in batches: those in magazines count as taken. budget_set() says
 * how much is left; when that is used up, every slow half of malloc and free calls
 * hooks.budget_spent() until it is set again.
 */
#ifndef CORE_BUDGET_H
#define CORE_BUDGET_H

#include "core/base.h"
#include "core/hooks.h"
#include "core/marks.h"

/* Bytes left; INT64_MAX at first. */
extern _Atomic int64_t budget_left;

/* Bytes since the start: taken from spans or as large blocks; and put back, by the program. Neither
 * ever falls. ctx: any */
uint64_t budget_taken(void);
uint64_t budget_put(void);

/* From now on so many bytes are left. ctx: the collector, one thread at a time */
void budget_set(int64_t nbytes);

/* The halves of mode gc. */
void budget_note_taken(size_t nbytes);
void budget_note_put(size_t nbytes);

/* ctx: alloc, any lock */
static inline void budget_take(size_t nbytes)
{
	if (unlikely(marks_are_on()))
		budget_note_taken(nbytes);
}

static inline void budget_give(size_t nbytes)
{
	if (unlikely(marks_are_on()))
		budget_note_put(nbytes);
}

/* `caller` is where the program called from. ctx: alloc, no lock held */
static inline void budget_poll(const void *caller)
{
	/* relaxed: late is as good. */
	if (unlikely(atomic_load_explicit(&budget_left, memory_order_relaxed) < 0) && hooks.budget_spent)
		hooks.budget_spent(caller);
}

#endif
