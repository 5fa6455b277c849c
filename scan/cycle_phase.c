/* cycle_phase.c: see cycle_phase.h.
 *
 * Reached from cycle.c, which changes the phase, and from threads that allocate (pacing.h). A thread
 * helps with signals blocked, so that no stop comes while it has work in hand: a stop waits for it.
 * It is counted, too, for where there is no stop:
 *
 *     who helps: nhelping + 1, then the phase     who ends marking: the phase, then nhelping
 *
 * All four are seq_cst: either the phase is seen to have changed, or who changed it sees the helper.
 * Checked by tests/race/cycles.c.
 */
#include "scan/cycle_phase.h"

#include "core/os.h"
#include "core/sigmask.h"
#include "core/sweep.h"
#include "scan/mark.h"

#define NAP_NS 50000                            /* for another thread's piece */

/* Any thread, atomic. */
static struct {
	_Atomic uint32_t phase;                 /* enum cycle_phase */
	_Atomic uint32_t nhelping;              /* threads in cycle_assist() */
	_Atomic uint64_t ns, nbytes;            /* of their help */
} now;

enum cycle_phase cycle_phase(void)
{
	/* seq_cst: with nhelping, as the head says. */
	return atomic_load_explicit(&now.phase, memory_order_seq_cst);
}

void cycle_phase_set(enum cycle_phase phase)
{
	/* seq_cst: with nhelping, as the head says. */
	atomic_store_explicit(&now.phase, phase, memory_order_seq_cst);
}

void cycle_phase_await(void)
{
	/* seq_cst: with phase, as the head says. */
	while (cycle_phase() == CYCLE_OFF
	       && atomic_load_explicit(&now.nhelping, memory_order_seq_cst))
		os_nap_ns(NAP_NS);
}

static uint64_t help(size_t nbytes)
{
	uint64_t n;

	switch (cycle_phase()) {
	case CYCLE_MARK:
		n = mark_assist(nbytes);
		/* relaxed: a figure. */
		atomic_fetch_add_explicit(&now.nbytes, n, memory_order_relaxed);
		return n;
	case CYCLE_SWEEP:
		return sweep_some(nbytes) ? nbytes : 0;
	default:
		return 0;
	}
}

uint64_t cycle_assist(size_t nbytes)
{
	uint64_t cpu_us = os_thread_cpu_us(), n;
	struct sigmask saved;

	if (cycle_phase() == CYCLE_OFF)
		return 0;
	sigmask_block(&saved);
	/* seq_cst: with phase, as the head says. */
	atomic_fetch_add_explicit(&now.nhelping, 1, memory_order_seq_cst);
	n = help(nbytes);
	/* release: what was marked. */
	atomic_fetch_sub_explicit(&now.nhelping, 1, memory_order_release);
	sigmask_restore(&saved);
	/* relaxed: a figure. */
	atomic_fetch_add_explicit(&now.ns, (os_thread_cpu_us() - cpu_us) * 1000, memory_order_relaxed);
	return n;
}

/* relaxed: figures. */
void cycle_help_clear(void)
{
	atomic_store_explicit(&now.ns, 0, memory_order_relaxed);
	atomic_store_explicit(&now.nbytes, 0, memory_order_relaxed);
}

struct cycle_help cycle_help(void)
{
	return (struct cycle_help){
		.ns = atomic_load_explicit(&now.ns, memory_order_relaxed),
		.nbytes = atomic_load_explicit(&now.nbytes, memory_order_relaxed),
	};
}

void cycle_phase_fork_child(void)
{
	cycle_phase_set(CYCLE_OFF);
	/* relaxed: the child has one thread. */
	atomic_store_explicit(&now.nhelping, 0, memory_order_relaxed);
}
