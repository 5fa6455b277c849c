/* tally.c: sums over cycles.
 *
 * Reached from who runs cycles, one at a time; read by any thread. Depends on scan/cycle.h's structure
 * only.
 */
#include "scan/tally.h"

#include <string.h>

/* One thread at a time adds, any reads: atomic, relaxed, since sums order nothing. */
static struct {
	_Atomic uint64_t sums[TALLY_COUNT];
	_Atomic(const char *) dirty;            /* a literal */
} all;

static void add(enum tally what, uint64_t n)
{
	atomic_fetch_add_explicit(&all.sums[what], n, memory_order_relaxed);
}

static void note_way(const char *dirty)
{
	/* relaxed: only this thread writes it. */
	const char *before = atomic_load_explicit(&all.dirty, memory_order_relaxed);

	if (before && dirty && strcmp(before, dirty) != 0)
		add(TALLY_FALLBACKS, 1);
	atomic_store_explicit(&all.dirty, dirty, memory_order_relaxed);
}

void tally_add(const struct cycle_last *c)
{
	add(c->failure ? TALLY_FAILED : c->kind == CYCLE_MINOR ? TALLY_MINOR : TALLY_FULL, 1);
	note_way(c->dirty);
	add(TALLY_MARK_NS, c->mark_ns);
	add(TALLY_SWEEP_NS, c->sweep_ns);
	add(TALLY_ASSIST_NS, c->assist_ns);
	add(TALLY_CPU_NS, c->cpu_us * 1000);
	add(TALLY_STOPPED_NS, c->arm_stop_ns + c->first_stop_ns + c->final_stop_ns);
	add(TALLY_READ_BYTES, c->read_bytes);
	add(TALLY_MARKED_BYTES, c->live_bytes);
	add(TALLY_MARKED_BLOCKS, c->live_blocks);
	add(TALLY_RECLAIMED_BYTES, c->reclaimed_bytes);
	add(TALLY_RECLAIMED_BLOCKS, c->reclaimed_blocks);
	add(TALLY_DIRTY_PAGES, c->dirty_pages);
}

uint64_t tally_get(enum tally what)
{
	return atomic_load_explicit(&all.sums[what], memory_order_relaxed);
}

const char *tally_dirty(void)
{
	return atomic_load_explicit(&all.dirty, memory_order_relaxed);
}

/* The thread that collects is at work in a stop: its own processor is counted already. */
uint64_t tally_cost_ns(unsigned nprocs)
{
	uint64_t others = nprocs > 1 ? nprocs - 1 : 0;

	return tally_get(TALLY_CPU_NS) + tally_get(TALLY_ASSIST_NS) + others * tally_get(TALLY_STOPPED_NS);
}

void tally_fork_child(void)
{
	/* The child has one thread. */
	memset(&all, 0, sizeof all);
}
