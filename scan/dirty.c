/* dirty.c: see dirty.h.
 *
 * Reached from the thread that runs a cycle, and around fork. The order is that of what a program
 * notices: uffd costs it the least, stw stops it for all of marking.
 */
#include "scan/dirty.h"

#include "core/knobs.h"
#include "core/report.h"

/* In the order of SPANGC_GC_DIRTY's words. */
static const struct dirty *const ways[] = { &dirty_uffd, &dirty_snapshot, &dirty_stw };

#define NWAYS (sizeof ways / sizeof *ways)

const struct dirty dirty_snapshot = { .name = "snapshot", .way = DIRTY_SNAPSHOT };
const struct dirty dirty_stw = { .name = "stw", .way = DIRTY_STW };

/* The thread that runs cycles. */
static struct {
	unsigned now;                           /* of ways[]: what was chosen */
	bool is_started, was_asked;
	bool is_clean;                          /* pretended */
} dirty;

static bool can_start(const struct dirty *d)
{
	return d->way != DIRTY_TRACKED || d->start();
}

/* A line for a choice of the user's that can't be had. */
static void settle(void)
{
	while (dirty.now < NWAYS - 1 && !can_start(ways[dirty.now]))
		dirty.now++;
	dirty.is_started = true;
}

static unsigned first_wanted(void)
{
	static const char *const names[] = { "auto", "uffd", "mprotect", "snapshot", "stw" };

	for (unsigned i = 0; i < NWAYS; i++) {
		if (knobs.gc_dirty != 0 && !__builtin_strcmp(ways[i]->name, names[knobs.gc_dirty]))
			return i;
	}
	return 0;
}

void dirty_start(void)
{
	if (!dirty.was_asked)
		dirty.now = first_wanted();
	dirty.was_asked = true;
	settle();
}

const struct dirty *dirty_choose(void)
{
	if (!dirty.is_started)
		dirty_start();
	return ways[dirty.now];
}

void dirty_failed(const struct dirty *d)
{
	if (ways[dirty.now] != d || dirty.now == NWAYS - 1)
		return;
	dirty.now++;
	dirty.is_started = false;
}

static void show_none(uintptr_t from, uintptr_t to, void *arg)
{
	(void)from;
	(void)to;
	(void)arg;
}

bool dirty_collect(const struct dirty *d, uintptr_t from, uintptr_t to, bool rearm, dirty_fn *fn,
                   void *arg)
{
	return d->collect(from, to, rearm, dirty.is_clean ? show_none : fn, arg);
}

void dirty_pretend_clean(bool pretended)
{
	dirty.is_clean = pretended;
}

struct dirty_counts dirty_counts(void)
{
	struct dirty_counts all = { 0 };

	for (unsigned i = 0; i < NWAYS; i++) {
		struct dirty_counts one = ways[i]->counts ? ways[i]->counts() : (struct dirty_counts){ 0 };

		all.npages += one.npages;
		all.nfaults += one.nfaults;
		all.nfailures += one.nfailures;
	}
	return all;
}

void dirty_fork_child(void)
{
	for (unsigned i = 0; i < NWAYS; i++) {
		if (ways[i]->fork_child)
			ways[i]->fork_child();
	}
	dirty.is_started = false;
}
