/* budget.c: see budget.h.
 *
 * Reached from spanset*.c and large.c, which hold locks or not; the collector sets the budget.
 *
 * Invariant: taken = granted - left, where `granted` grows by what budget_set() adds: so that a
 * refill costs one atomic addition (tests/unit/budget.c).
 */
#include "core/budget.h"

_Alignas(CACHE_LINE) _Atomic int64_t budget_left = INT64_MAX;

static _Atomic uint64_t granted = INT64_MAX, put;

uint64_t budget_taken(void)
{
	/* relaxed, both: a moment's value; budget_set() is the caller's own or over. */
	return atomic_load_explicit(&granted, memory_order_relaxed)
	       - (uint64_t)atomic_load_explicit(&budget_left, memory_order_relaxed);
}

uint64_t budget_put(void)
{
	/* relaxed: a moment's value. */
	return atomic_load_explicit(&put, memory_order_relaxed);
}

void budget_set(int64_t nbytes)
{
	/* relaxed, both: only the sums count. */
	int64_t left = atomic_exchange_explicit(&budget_left, nbytes, memory_order_relaxed);

	atomic_fetch_add_explicit(&granted, (uint64_t)nbytes - (uint64_t)left, memory_order_relaxed);
}

void budget_note_taken(size_t nbytes)
{
	/* relaxed: as in budget_poll(). */
	atomic_fetch_sub_explicit(&budget_left, (int64_t)nbytes, memory_order_relaxed);
}

void budget_note_put(size_t nbytes)
{
	count_add(&put, nbytes);
}
