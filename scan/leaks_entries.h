/* leaks_entries.h: blocks summed up by stack and kind: what a report lists. */
#ifndef SCAN_LEAKS_ENTRIES_H
#define SCAN_LEAKS_ENTRIES_H

#include "core/base.h"
#include "core/record.h"

#define ENTRY_THREADS 8                         /* named of each */

struct leaks_sum {
	uint64_t nbytes, nblocks;               /* asked for */
};

/* The blocks of one stack and kind. */
struct leaks_entry {
	uint32_t stack;                         /* scan/stacks.h */
	bool     is_direct;                     /* of leaks */
	bool     is_suppressed;
	struct leaks_sum sum;                   /* in a diff: more than before */
	struct leaks_sum live;                  /* in a diff: all that there are */
	uint64_t indirect_bytes;                /* of a direct one: held by these blocks */
	uint16_t oldest, newest;                /* births */
	uint16_t thread[ENTRY_THREADS];         /* that allocated; 0: no more */
	bool     has_more_threads;
};

struct leaks_entries {
	struct leaks_entry *list;
	uint32_t n;
	uint32_t nstacks, nkinds;               /* while blocks are added */
};

/* Room for `nkinds` entries of each stack. False: no memory. ctx: stw */
bool entries_start(struct leaks_entries *e, uint32_t nkinds);

/* The entry to which a block of that record is added. ctx: stw */
struct leaks_entry *entries_add(struct leaks_entries *e, const struct record *r, uint32_t kind);

/* Entries without a block go. ctx: any */
void entries_finish(struct leaks_entries *e);

/* An entry of that stack, before they are sorted; NULL: there is none. ctx: any */
const struct leaks_entry *entries_find(const struct leaks_entries *e, uint32_t stack);

/* The largest first, suppressed ones last; equal ones in the order of modules, offsets and functions,
 * so that two runs agree. After symbols_run(). ctx: any */
void entries_sort(struct leaks_entries *e);

void entries_drop(struct leaks_entries *e);

static inline void sum_add(struct leaks_sum *sum, uint64_t nbytes, uint64_t nblocks)
{
	sum->nbytes += nbytes;
	sum->nblocks += nblocks;
}

#endif
