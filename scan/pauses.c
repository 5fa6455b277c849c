/* pauses.c: the histogram of stops.
 *
 * Reached from scan/cycle_stop.c, which notes each stop, and from who shows them. Depends on base.h only.
 * A bucket's number is the place of the highest bit and the two bits behind it.
 */
#include "scan/pauses.h"

#include <string.h>

#define STEP_BITS 2

_Static_assert(1 << STEP_BITS == PAUSES_STEPS, "steps of an octave");

/* Any thread, atomic, relaxed: sums that order nothing. */
static struct {
	_Atomic uint64_t n, sum_ns, max_ns;
	_Atomic uint64_t counts[PAUSES_NBUCKETS];
} all;

static unsigned bucket_of(uint64_t ns)
{
	unsigned bits;

	if (ns < UINT64_C(1) << PAUSES_FIRST_BITS)
		return 0;
	if (ns >= UINT64_C(1) << PAUSES_LAST_BITS)
		return PAUSES_NBUCKETS - 1;
	bits = 63 - (unsigned)__builtin_clzll(ns);
	return 1 + (bits - PAUSES_FIRST_BITS) * PAUSES_STEPS
	       + (unsigned)(ns >> (bits - STEP_BITS)) % PAUSES_STEPS;
}

uint64_t pauses_bucket_ns(unsigned i)
{
	if (i >= PAUSES_NBUCKETS - 1)
		return UINT64_MAX;
	return (uint64_t)(PAUSES_STEPS + i % PAUSES_STEPS)
	       << (PAUSES_FIRST_BITS - STEP_BITS + i / PAUSES_STEPS);
}

static void raise_max(uint64_t ns)
{
	uint64_t max = atomic_load_explicit(&all.max_ns, memory_order_relaxed);

	while (ns > max
	       && !atomic_compare_exchange_weak_explicit(&all.max_ns, &max, ns, memory_order_relaxed,
	                                                 memory_order_relaxed))
		;
}

void pauses_note(uint64_t ns)
{
	atomic_fetch_add_explicit(&all.counts[bucket_of(ns)], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&all.sum_ns, ns, memory_order_relaxed);
	raise_max(ns);
	atomic_fetch_add_explicit(&all.n, 1, memory_order_relaxed);
}

void pauses_get(struct pauses *out)
{
	out->n = atomic_load_explicit(&all.n, memory_order_relaxed);
	out->sum_ns = atomic_load_explicit(&all.sum_ns, memory_order_relaxed);
	out->max_ns = atomic_load_explicit(&all.max_ns, memory_order_relaxed);
	for (unsigned i = 0; i < PAUSES_NBUCKETS; i++)
		out->counts[i] = atomic_load_explicit(&all.counts[i], memory_order_relaxed);
}

uint64_t pauses_quantile_ns(const struct pauses *p, unsigned permille)
{
	uint64_t total = 0, below = 0;
	unsigned i = 0;

	for (unsigned b = 0; b < PAUSES_NBUCKETS; b++)
		total += p->counts[b];
	if (!total)
		return 0;
	for (; i < PAUSES_NBUCKETS - 1; i++) {
		below += p->counts[i];
		if (below * 1000 >= total * permille)
			break;
	}
	return pauses_bucket_ns(i) < p->max_ns ? pauses_bucket_ns(i) : p->max_ns;
}

void pauses_fork_child(void)
{
	/* The child has one thread. */
	memset(&all, 0, sizeof all);
}
