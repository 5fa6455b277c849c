/* leaks_entries.c: see leaks_entries.h. Reached from leaks.c, growth.c and leaks_report.c; depends on
 * stacks.h, symbols.h and sort.h. One table at a time. */
#include "scan/leaks_entries.h"

#include "scan/scratch.h"
#include "scan/sort.h"
#include "scan/stacks.h"
#include "scan/symbols.h"

#include <string.h>

static struct scratch memory;

bool entries_start(struct leaks_entries *e, uint32_t nkinds)
{
	e->nstacks = stacks_count() + 1;
	e->nkinds = nkinds;
	e->n = 0;
	e->list = scratch_take(&memory, (size_t)e->nstacks * nkinds * sizeof *e->list);
	return e->list;
}

static void note_thread(struct leaks_entry *e, uint16_t thread)
{
	for (unsigned i = 0; i < ENTRY_THREADS; i++) {
		if (!e->thread[i])
			e->thread[i] = thread;
		if (e->thread[i] == thread)
			return;
	}
	e->has_more_threads = true;
}

struct leaks_entry *entries_add(struct leaks_entries *e, const struct record *r, uint32_t kind)
{
	uint32_t stack = r->stack < e->nstacks ? r->stack : STACKS_NONE;
	struct leaks_entry *entry = &e->list[stack * e->nkinds + kind];

	if (!entry->sum.nblocks)
		entry->oldest = entry->newest = r->birth;
	entry->stack = stack;
	entry->oldest = r->birth < entry->oldest ? r->birth : entry->oldest;
	entry->newest = r->birth > entry->newest ? r->birth : entry->newest;
	note_thread(entry, r->thread);
	sum_add(&entry->sum, r->nbytes, 1);
	return entry;
}

void entries_finish(struct leaks_entries *e)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < e->nstacks * e->nkinds; i++) {
		if (e->list[i].sum.nblocks || e->list[i].live.nblocks)
			e->list[n++] = e->list[i];
	}
	e->n = n;
}

const struct leaks_entry *entries_find(const struct leaks_entries *e, uint32_t stack)
{
	uint32_t low = 0, high = e->n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (e->list[middle].stack < stack)
			low = middle + 1;
		else
			high = middle;
	}
	return low < e->n && e->list[low].stack == stack ? &e->list[low] : NULL;
}

static int compare_names(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "");
}

static int compare_frames(uintptr_t left, uintptr_t right)
{
	const struct symbol *a, *b;
	int order;

	symbols_get(left, &a);
	symbols_get(right, &b);
	order = compare_names(a->module, b->module);
	if (!order && a->module)
		order = (a->offset > b->offset) - (a->offset < b->offset);
	return order ? order : compare_names(a->function, b->function);
}

static int compare_stacks(uint32_t left, uint32_t right)
{
	const uintptr_t *a, *b;
	unsigned na = stacks_get(left, &a), nb = stacks_get(right, &b);
	int order = 0;

	for (unsigned i = 0; i < na && i < nb && !order; i++)
		order = a[i] == b[i] ? 0 : compare_frames(a[i], b[i]);
	return order ? order : (na > nb) - (na < nb);
}

static bool is_before(const void *left, const void *right)
{
	const struct leaks_entry *a = left, *b = right;
	int order;

	if (a->is_suppressed != b->is_suppressed)
		return b->is_suppressed;
	if (a->sum.nbytes != b->sum.nbytes)
		return a->sum.nbytes > b->sum.nbytes;
	if (a->is_direct != b->is_direct)
		return a->is_direct;
	if (a->sum.nblocks != b->sum.nblocks)
		return a->sum.nblocks > b->sum.nblocks;
	order = a->stack == b->stack ? 0 : compare_stacks(a->stack, b->stack);
	return order ? order < 0 : a->stack < b->stack;
}

void entries_sort(struct leaks_entries *e)
{
	sort(e->list, e->n, sizeof *e->list, is_before);
}

void entries_drop(struct leaks_entries *e)
{
	scratch_drop(&memory);
	memset(e, 0, sizeof *e);
}
