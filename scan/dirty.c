/* dirty.c: see dirty.h.
 *
 * Reached from the thread that runs a cycle, and around fork. The order is that of what a program
 * notices: uffd costs it the least, stw stops it for all of marking. A way that does not start, or that
 * failed, is not tried again, nor by children of a fork; the next one takes its place.
 *
 * A line tells of it where the user asked for that way, or for the trace: whose last word tells the way.
 */
#include "scan/dirty.h"

#include "core/knobs.h"
#include "core/report.h"
#include "scan/cycle_snapshot.h"

const struct dirty dirty_snapshot = {
	.name = "snapshot", .way = DIRTY_SNAPSHOT,
	.start = snapshot_start, .fork_child = cycle_snapshot_fork_child,
};
const struct dirty dirty_stw = { .name = "stw", .way = DIRTY_STW };

static const struct way {
	const struct dirty *dirty;
	uint64_t word;                          /* of SPANGC_GC_DIRTY */
} ways[] = {
	{ &dirty_uffd, KNOB_GC_DIRTY_UFFD },
	{ &dirty_mprotect, KNOB_GC_DIRTY_MPROTECT },
	{ &dirty_snapshot, KNOB_GC_DIRTY_SNAPSHOT },
	{ &dirty_stw, KNOB_GC_DIRTY_STW },
};

#define NWAYS (sizeof ways / sizeof *ways)

/* The thread that runs cycles. */
static struct {
	const struct way *way;                  /* NULL: none was chosen */
	bool is_started;
	bool is_clean;                          /* pretended */
} dirty;

/* With auto the first one. */
static const struct way *first_way(void)
{
	for (size_t i = 0; i < NWAYS; i++) {
		if (ways[i].word == knobs.gc_dirty)
			return &ways[i];
	}
	return ways;
}

static bool can_start(const struct dirty *d)
{
	return !d->start || d->start();
}

static void settle(void)
{
	const struct way *wanted = dirty.way;

	while (!can_start(dirty.way->dirty)) {
		if (dirty.way->dirty->stop)
			dirty.way->dirty->stop();
		dirty.way++;
	}
	dirty.is_started = true;
	if (dirty.way != wanted && wanted->word == knobs.gc_dirty)
		report_line("SPANGC_GC_DIRTY=", wanted->dirty->name, ": not possible here; ",
		            dirty.way->dirty->name, " instead", NULL);
}

void dirty_start(void)
{
	if (!dirty.way)
		dirty.way = first_way();
	if (!dirty.is_started)
		settle();
}

const struct dirty *dirty_choose(void)
{
	dirty_start();
	return dirty.way->dirty;
}

void dirty_failed(const struct dirty *d)
{
	if (dirty.way->dirty != d || dirty.way == &ways[NWAYS - 1])
		return;
	if (d->stop)
		d->stop();
	dirty.way++;
	dirty.is_started = false;
	dirty_start();
	if (knobs.gc_trace || knobs.gc_dirty != KNOB_GC_DIRTY_AUTO)
		report_line(d->name, " failed; ", dirty.way->dirty->name, " instead from now on", NULL);
}

static _Atomic bool is_filtered;

void dirty_expect_filter(void)
{
	/* relaxed: this thread sees it, and those that it starts, which get the filter. */
	atomic_store_explicit(&is_filtered, true, memory_order_relaxed);
}

void dirty_expect(uintptr_t from, uintptr_t to)
{
	/* relaxed: as in dirty_expect_filter(). */
	if (atomic_load_explicit(&is_filtered, memory_order_relaxed))
		return;
	for (size_t i = 0; i < NWAYS; i++) {
		if (ways[i].dirty->expect)
			ways[i].dirty->expect(from, to);
	}
}

static void show_nothing(uintptr_t from, uintptr_t to, void *arg)
{
	(void)from;
	(void)to;
	(void)arg;
}

bool dirty_collect(const struct dirty *d, uintptr_t from, uintptr_t to, bool rearm, dirty_fn *fn,
                   void *arg)
{
	return d->collect(from, to, rearm, dirty.is_clean ? show_nothing : fn, arg);
}

void dirty_pretend_clean(bool pretended)
{
	dirty.is_clean = pretended;
}

struct dirty_counts dirty_counts(void)
{
	struct dirty_counts all = { 0 };

	for (unsigned i = 0; i < NWAYS; i++) {
		const struct dirty *d = ways[i].dirty;
		struct dirty_counts one = d->counts ? d->counts() : (struct dirty_counts){ 0 };

		all.npages += one.npages;
		all.nfaults += one.nfaults;
		all.ncalls += one.ncalls;
	}
	return all;
}

void dirty_fork_child(void)
{
	for (size_t i = 0; i < NWAYS; i++) {
		if (ways[i].dirty->fork_child)
			ways[i].dirty->fork_child();
	}
	dirty.is_started = false;
}
