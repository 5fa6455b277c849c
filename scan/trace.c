/* trace.c: the line of SPANGC_GC_TRACE.
 *
 * Reached from who runs cycles, and from the requests that switch it. Writes nothing itself.
 */
#include "scan/trace.h"

#include "core/knobs.h"
#include "scan/tally.h"

#define NS_PER_MS UINT64_C(1000000)

enum { AS_THE_KNOB, ON, OFF };

/* Any thread, atomic, relaxed: it orders nothing. */
static _Atomic int state;

bool trace_is_on(void)
{
	int now = atomic_load_explicit(&state, memory_order_relaxed);

	return now == AS_THE_KNOB ? knobs.gc_trace : now == ON;
}

void trace_set(bool is_on)
{
	atomic_store_explicit(&state, is_on ? ON : OFF, memory_order_relaxed);
}

/* n / 10^digits, with that many digits behind the point. */
static void text_fixed(struct text *t, uint64_t n, unsigned digits)
{
	uint64_t unit = 1;

	for (unsigned i = 0; i < digits; i++)
		unit *= 10;
	text_dec(t, n / unit);
	if (!digits)
		return;
	text_str(t, ".");
	for (n %= unit; n * 10 < unit && unit > 10; unit /= 10)
		text_str(t, "0");
	text_dec(t, n);
}

/* Milliseconds: whole ones from 10 on, below that two digits that count. */
static void text_ms(struct text *t, uint64_t ns)
{
	uint64_t n = ns / 1000;
	unsigned digits = 3;

	if (ns >= 10 * NS_PER_MS || !n) {
		text_dec(t, ns / NS_PER_MS);
		return;
	}
	for (; n >= 100; n /= 10)
		digits--;
	text_fixed(t, n, digits);
}

static void text_mb(struct text *t, uint64_t nbytes)
{
	text_dec(t, nbytes >> 20);
}

static void text_head(struct text *t, const struct cycle_last *c, const struct trace_world *w)
{
	uint64_t lived = c->ended_ns > w->start_ns ? c->ended_ns - w->start_ns : 1;

	text_str(t, "gc ");
	text_dec(t, c->number);
	text_str(t, " @");
	text_fixed(t, lived / NS_PER_MS, 3);
	text_str(t, "s ");
	text_dec(t, tally_cost_ns(w->nprocs) * 100 / (lived * w->nprocs));
	text_str(t, "%: ");
}

static void text_times(struct text *t, const struct cycle_last *c, const struct trace_world *w)
{
	uint64_t first_ns = c->arm_stop_ns + c->first_stop_ns;

	text_ms(t, first_ns);
	text_str(t, "+");
	text_ms(t, c->mark_ns);
	text_str(t, "+");
	text_ms(t, c->final_stop_ns);
	text_str(t, " ms clock, ");
	text_ms(t, first_ns * w->nprocs);
	text_str(t, "+");
	text_ms(t, c->assist_ns);
	text_str(t, "/");
	text_ms(t, c->cpu_us * 1000);
	text_str(t, "/0+");
	text_ms(t, c->final_stop_ns * w->nprocs);
	text_str(t, " ms cpu, ");
}

static void text_sizes(struct text *t, const struct cycle_last *c, const struct trace_world *w)
{
	text_mb(t, c->heap_before);
	text_str(t, "->");
	text_mb(t, c->heap_marked);
	text_str(t, "->");
	text_mb(t, w->after_bytes);
	text_str(t, " MB, ");
	if (w->goal_bytes == UINT64_MAX) {
		text_str(t, "no goal, ");
		return;
	}
	text_mb(t, w->goal_bytes);
	text_str(t, " MB goal, ");
}

void trace_line(struct text *t, const struct cycle_last *c, const struct trace_world *w)
{
	text_head(t, c, w);
	text_times(t, c, w);
	text_sizes(t, c, w);
	text_dec(t, w->nprocs);
	text_str(t, " P, ");
	if (c->kind == CYCLE_MINOR)
		text_str(t, "minor, ");
	if (w->is_forced)
		text_str(t, "forced, ");
	if (c->failure) {
		text_str(t, "nothing reclaimed: ");
		text_str(t, c->failure);
		text_str(t, ", ");
	}
	text_str(t, c->dirty ? c->dirty : "none");
	text_newline(t);
}
