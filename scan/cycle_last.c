/* cycle_last.c: see cycle_last.h.
 *
 * Reached from cycle.c at a cycle's end, and from who shows it: the trace, statistics, the pacer. The
 * record is kept twice; that of last[nlast % 2] is whole, and a reader that was overtaken reads again.
 */
#include "scan/cycle_last.h"

#include "core/budget.h"
#include "core/report.h"

#define FAILURES_TOLD 3                         /* cycles in a row that fail, and it is said */

static struct {
	/* Who runs cycles. */
	struct cycle_last last[2];
	unsigned nfailed;                       /* cycles in a row that reclaimed nothing */
	bool has_said;                          /* why nothing is reclaimed */

	/* Any thread, atomic. */
	_Atomic uint64_t nlast;
	_Atomic uint64_t reclaimed_bytes;       /* ever */
} cycles;

const char cycle_has_uring[] = "io_uring is in use";

static void tell_failure(const char *why)
{
	cycles.nfailed = why ? cycles.nfailed + 1 : 0;
	if (cycles.has_said || (why != cycle_has_uring && cycles.nfailed < FAILURES_TOLD))
		return;
	cycles.has_said = true;
	if (why == cycle_has_uring)
		report_line("io_uring is in use: nothing is reclaimed while it is", NULL);
	else
		report_line("nothing is reclaimed: ", why, NULL);
}

void cycle_publish(struct cycle_last *now)
{
	/* relaxed: one thread writes. release: the record is whole. */
	uint64_t n = atomic_load_explicit(&cycles.nlast, memory_order_relaxed) + 1;

	now->number = n;
	cycles.last[n % 2] = *now;
	atomic_store_explicit(&cycles.nlast, n, memory_order_release);
	tell_failure(now->failure);
}

struct cycle_last cycle_last(void)
{
	for (;;) {
		/* acquire: pairs with the release in cycle_publish(); before the copy, and after it. */
		uint64_t n = atomic_load_explicit(&cycles.nlast, memory_order_acquire);
		struct cycle_last copy = cycles.last[n % 2];

		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&cycles.nlast, memory_order_relaxed) - n < 1)
			return copy;
	}
}

void cycle_note_reclaimed(uint64_t nbytes)
{
	/* relaxed: a figure. */
	atomic_fetch_add_explicit(&cycles.reclaimed_bytes, nbytes, memory_order_relaxed);
}

uint64_t cycle_used_bytes(void)
{
	/* relaxed: a figure. Slots put back are counted after slots taken: at worst too many are used. */
	uint64_t gone = atomic_load_explicit(&cycles.reclaimed_bytes, memory_order_relaxed) + budget_put();
	uint64_t taken = budget_taken();

	return taken > gone ? taken - gone : 0;
}
