/* delay.c: how long pages stay free before they go back.
 *
 * Reached from scavenge.c, helper.c and heap.c. Pure arithmetic; delay_adapt() is called under
 * LOCK_PAGES, the result is read without.
 *
 * To write again to what MADV_DONTNEED took costs 1.7 us for 4 KiB (Linux 6.18, a virtual
 * machine); FAULT_BYTES_A_US is that and something for the calls.
 */
#include "core/delay.h"

#define FAULT_BYTES_A_US KIB(2)
#define COST_PERCENT 1                          /* of the time: then the delay doubles */
#define QUIET_DELAYS 8                          /* without such a cost: then it halves */

static struct {
	_Atomic uint32_t ms;                    /* 0 means DELAY_MIN_MS */

	/* LOCK_PAGES. */
	uint64_t seen_bytes, seen_ms;           /* at the last call */
	uint64_t changed_ms, costly_ms;         /* when it was last changed; too short */
} automatic;

static uint64_t current(void)
{
	/* relaxed: late is as good. */
	uint32_t ms = atomic_load_explicit(&automatic.ms, memory_order_relaxed);

	return ms ? ms : DELAY_MIN_MS;
}

uint64_t delay_ms(void)
{
	return knobs.release_delay_ms == KNOB_AUTO ? current() : knobs.release_delay_ms;
}

uint64_t delay_idle_ms(void)
{
	return knobs.release_delay_ms == KNOB_AUTO ? DELAY_MAX_MS : knobs.release_delay_ms;
}

static void set(uint64_t ms, uint64_t now_ms)
{
	ms = ms < DELAY_MIN_MS ? DELAY_MIN_MS : ms > DELAY_MAX_MS ? DELAY_MAX_MS : ms;
	automatic.changed_ms = now_ms;
	/* relaxed: as in current(). */
	atomic_store_explicit(&automatic.ms, (uint32_t)ms, memory_order_relaxed);
}

void delay_adapt(uint64_t now_ms, uint64_t reused_bytes)
{
	uint64_t cost_us = (reused_bytes - automatic.seen_bytes) / FAULT_BYTES_A_US;
	uint64_t elapsed_us = (now_ms - automatic.seen_ms) * 1000;
	uint64_t delay = current();

	automatic.seen_bytes = reused_bytes;
	automatic.seen_ms = now_ms;
	if (cost_us * 100 > elapsed_us * COST_PERCENT) {
		automatic.costly_ms = now_ms;
		/* What was freed before the last change says nothing of it. */
		if (now_ms - automatic.changed_ms >= delay)
			set(delay * 2, now_ms);
	} else if (now_ms - automatic.costly_ms >= delay * QUIET_DELAYS
	           && now_ms - automatic.changed_ms >= delay * QUIET_DELAYS) {
		set(delay / 2, now_ms);
	}
}
