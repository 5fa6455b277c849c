/* hidden.c: see hidden.h.
 *
 * Reached from preload/reports.c around a report, from leaks_report.c in it, and from core's cold half
 * of free(). Depends on snapshot.h for the memory of the list, and record.h. Takes no lock; one
 * report at a time.
 */
#include "scan/hidden.h"

#include "core/record.h"
#include "scan/snapshot.h"
#include "scan/stacks.h"

#define LISTED_MAX (1u << 16)                   /* a report: enough for a proof */
#define STACKS_MAX 256                          /* those that do not fit count as STACKS_NONE */

/* Shared with copies of the process. */
struct list {
	uint32_t n;
	struct listed {
		uintptr_t p;
		uint64_t word;                  /* its record */
	} block[LISTED_MAX];
};

static struct list *list;

static struct {
	_Atomic uint32_t stack;                 /* STACKS_NONE: free, but in the first place */
	_Atomic uint64_t nbytes, nblocks;
} freed[STACKS_MAX];

void hidden_prepare(void)
{
	if (!list)
		list = snapshot_shared(sizeof *list);
	if (list)
		list->n = 0;
}

void hidden_list(const struct leaks *l)
{
	for (size_t i = 0; list && i < l->nblocks && list->n < LISTED_MAX; i++) {
		const struct leaks_block *b = &l->blocks[i];
		struct block found;

		if (b->is_suppressed || b->is_reported || !block_find((void *)b->p, &found))
			continue;
		list->block[list->n++] = (struct listed){
			.p = b->p, .word = record_raw((void *)b->p, &found),
		};
	}
}

void hidden_mark(void)
{
	for (uint32_t i = 0; list && i < list->n; i++) {
		const struct listed *b = &list->block[i];
		struct block found;

		if (block_find((void *)b->p, &found))
			record_mark_reported((void *)b->p, &found, b->word);
	}
}

/* The place for that stack. Whoever comes first has it; only the first place takes STACKS_NONE. */
static unsigned place_of(uint32_t stack)
{
	for (unsigned i = 1; stack && i < STACKS_MAX; i++) {
		uint32_t there = STACKS_NONE;

		/* relaxed, both: the number is all there is to it. */
		if (atomic_compare_exchange_strong_explicit(&freed[i].stack, &there, stack,
		                                            memory_order_relaxed, memory_order_relaxed)
		    || there == stack)
			return i;
	}
	return 0;
}

void hidden_freed(const struct record *r)
{
	unsigned i = place_of(r->stack);

	/* relaxed, both: figures. */
	atomic_fetch_add_explicit(&freed[i].nbytes, r->nbytes, memory_order_relaxed);
	atomic_fetch_add_explicit(&freed[i].nblocks, 1, memory_order_relaxed);
}

uint32_t hidden_count(void)
{
	return STACKS_MAX;
}

struct hidden hidden_get(uint32_t i)
{
	/* relaxed, all: figures. */
	return (struct hidden){
		.stack = atomic_load_explicit(&freed[i].stack, memory_order_relaxed),
		.sum = { atomic_load_explicit(&freed[i].nbytes, memory_order_relaxed),
		         atomic_load_explicit(&freed[i].nblocks, memory_order_relaxed) },
	};
}
