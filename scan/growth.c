/* growth.c: see growth.h. Reached from preload/reports.c and leaks_report.c; depends on snapshot.h for
 * the memory that is kept. One diff at a time. */
#include "scan/growth.h"

#include "scan/snapshot.h"
#include "scan/stacks.h"

#include <string.h>

/* As many as records can name. */
#define STACKS_MAX (RECORD_STACK_MAX + 1)

/* Shared with copies of the process; 32 MiB of addresses, touched as stacks come up. */
struct moment {
	bool     is_there;
	uint64_t ms;
	uint32_t nstacks;
	struct kept {
		uint64_t nbytes;
		uint64_t nblocks;
	} stack[STACKS_MAX];
};

static struct moment *moment;

void growth_prepare(void)
{
	if (!moment)
		moment = snapshot_shared(sizeof *moment);
}

/* What the stack has now, which is kept, and had. */
static struct leaks_sum exchange(uint32_t stack, const struct leaks_sum *now)
{
	struct kept *k = &moment->stack[stack];
	struct leaks_sum before = { k->nbytes, k->nblocks };

	*k = (struct kept){ now->nbytes, now->nblocks };
	return before;
}

/* Did it grow? Then the entry says by how much: of blocks it may be less than none. */
static bool compare(struct growth *g, struct leaks_entry *e)
{
	struct leaks_sum before = exchange(e->stack, &e->sum);

	e->live = e->sum;
	e->sum.nbytes -= before.nbytes;
	e->sum.nblocks -= before.nblocks;
	sum_add(&g->live, e->live.nbytes, e->live.nblocks);
	if (e->live.nbytes > before.nbytes
	    || (e->live.nbytes == before.nbytes && e->live.nblocks > before.nblocks)) {
		sum_add(&g->grown, e->sum.nbytes, e->sum.nblocks);
		return true;
	}
	if (e->live.nbytes < before.nbytes || e->live.nblocks < before.nblocks) {
		sum_add(&g->shrunk, -e->sum.nbytes, -e->sum.nblocks);
		g->nshrunk++;
	}
	return false;
}

/* Stacks of which nothing is left have no entry. */
static void compare_gone(struct growth *g, uint32_t from, uint32_t to)
{
	static const struct leaks_sum none;

	for (uint32_t s = from; s < to; s++) {
		struct leaks_sum before = exchange(s, &none);

		sum_add(&g->shrunk, before.nbytes, before.nblocks);
		g->nshrunk += before.nblocks > 0;
	}
}

bool growth_compare(struct growth *g, struct leaks_entries *e, uint64_t now_ms)
{
	uint32_t n = 0, next = 0;

	memset(g, 0, sizeof *g);
	if (!moment)
		return false;
	g->is_first = !moment->is_there;
	g->since_ms = g->is_first ? now_ms : now_ms - moment->ms;
	for (uint32_t i = 0; i < e->n; i++) {   /* by stack */
		compare_gone(g, next, e->list[i].stack);
		next = e->list[i].stack + 1;
		if (compare(g, &e->list[i]))
			e->list[n++] = e->list[i];
	}
	compare_gone(g, next, moment->nstacks);
	e->n = n;
	moment->is_there = true;
	moment->ms = now_ms;
	moment->nstacks = moment->nstacks > next ? moment->nstacks : next;
	return true;
}
