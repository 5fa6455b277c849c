/* cycle_stop.c: see cycle_stop.h.
 *
 * Reached from cycle.c (1, 3, 6 there). Depends on threads.h, which stops, and on dirty.h, which arms.
 *
 * Where the world must stand for arming, a long heap would take too long for one stop. It is armed in
 * pieces from the bottom to the end that it had at first, in a stop each, and the program runs in
 * between: what it writes to a piece before that is armed was written before anything is read. What is
 * behind that end is dirty anyway (dirty.h).
 */
#include "scan/cycle_stop.h"

#include "core/heap.h"
#include "core/os.h"
#include "scan/pauses.h"
#include "scan/threads.h"

#define BETWEEN_NS 1000000                      /* stops: threads wake up, and get on */

bool cycle_stop_begin(struct cycle_stop *s)
{
	s->began_ns = os_now_ns();
	return scan_stop();
}

uint64_t cycle_stop_end(const struct cycle_stop *s)
{
	uint64_t ns;

	scan_resume();
	ns = os_now_ns() - s->began_ns;
	pauses_note(ns);
	return ns;
}

void cycle_disarm(const struct dirty *d)
{
	if (d->disarm)
		d->disarm();
}

/* In a stop that everybody must have obeyed: else it is left. */
static bool arm_stopped(const struct dirty *d, uintptr_t from, uintptr_t to, uint64_t *longest_ns,
                        bool *has_failed)
{
	struct cycle_stop s;
	uint64_t ns;

	if (!cycle_stop_begin(&s))
		return false;

	bool is_stopped = !scan_stop_info().nmissed;

	*has_failed = is_stopped && !(from == heap.base ? d->arm(from, to) : d->arm_more(to));
	ns = cycle_stop_end(&s);
	if (ns > *longest_ns)
		*longest_ns = ns;
	return is_stopped && !*has_failed;
}

static bool arm_in_pieces(const struct dirty *d, uint64_t *longest_ns, bool *has_failed)
{
	uintptr_t end = heap_end(), from = heap.base;

	while (from < end) {
		uintptr_t to = d->piece_bytes && end - from > d->piece_bytes ? from + d->piece_bytes : end;

		if (from != heap.base)
			os_nap_ns(BETWEEN_NS);
		if (!arm_stopped(d, from, to, longest_ns, has_failed))
			return false;
		from = to;
	}
	return true;
}

bool cycle_arm(const struct dirty *d, uint64_t *longest_ns)
{
	bool has_failed = false, is_armed;

	if (d->arms_stopped) {
		cycle_disarm(d);                /* of the cycle before, if it kept them: not in a stop */
		is_armed = arm_in_pieces(d, longest_ns, &has_failed);
	} else {
		is_armed = d->arm(heap.base, heap_end());
		has_failed = !is_armed;
	}
	if (!is_armed)
		cycle_disarm(d);
	if (has_failed && !(d->may_arm_later && d->may_arm_later()))
		dirty_failed(d);
	return is_armed;
}
