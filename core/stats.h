/* stats.h: the heap in numbers.
 *
 * Counted when asked for, from what the records say anyway: the hot path counts nothing. Each
 * part is read on its own, without stopping anybody: with other threads at work the parts need
 * not add up, but none is ever below 0 or beyond what there is. Read by the only thread, they add
 * up exactly; see stats_sum().
 */
#ifndef CORE_STATS_H
#define CORE_STATS_H

#include "core/base.h"
#include "core/sizeclass.h"

/* One span class. A slot is in one of the five states. */
struct stats_class {
	uint32_t nspans;
	uint32_t nmagazine;                     /* free, in a thread's magazine */
	uint64_t nused;                         /* held by the program */
	uint64_t ncurrent;                      /* free, in a span that slots are being taken from */
	uint64_t npartial;                      /* free, in another span */
	uint64_t nremote;                       /* freed by a stranger, not yet collected */
};

struct stats_calls {
	uint64_t ncalls;
	uint64_t nbytes;                        /* a page counts each time */
};

struct stats {
	struct stats_class class[SIZECLASS_NALL];
	uint64_t nlarge;                        /* blocks in pages of their own */
	uint64_t nlarge_moved;                  /* of them: grown by moving pages */

	/* Bytes of spans. Pages that malloc_trim() or the scavenger gave back from under free
	 * slots still count as free slots; trimmed_bytes says how many. */
	uint64_t used_bytes;
	uint64_t magazine_bytes;
	uint64_t current_bytes;
	uint64_t partial_bytes;
	uint64_t remote_bytes;
	uint64_t tail_bytes;                    /* too short for one more slot */
	uint64_t large_bytes;                   /* held by the program */

	/* Bytes of free pages, those in caches of pages included. */
	uint64_t dirty_bytes;                   /* resident */
	uint64_t lazy_bytes;                    /* given back lazily: resident until the kernel wants it */
	uint64_t released_bytes;                /* given back */
	uint64_t untouched_bytes;               /* never used */

	uint64_t heap_bytes;                    /* accessible: all of the above */
	uint64_t reserved_bytes;                /* address space */
	uint64_t peak_bytes;                    /* of pages that were not free, at once */
	uint64_t metadata_bytes;                /* accessible, beside the heap */

	/* Events since the start, unless they say "now"; those of giving back since the fork. */
	uint64_t nrecords;                      /* span records made */
	uint64_t ncaches, ncaches_used;         /* made; of a thread now */
	uint64_t nbatches;                      /* between magazines and spans; wraps for each cache */
	uint64_t nnews;                         /* spans with strangers' frees, now: a hint */
	uint64_t nwaits_cache, nwaits_central, nwaits_pages;    /* for locks */
	struct stats_calls dontneed, lazy, tables;              /* madvise */
	uint64_t nrefused;                      /* madvise calls */
	uint64_t trimmed_bytes;                 /* now: given back from under free slots */
	uint64_t madvise_ns;                    /* from before to after them, by the clock */
	uint64_t reused_bytes;                  /* of pages given back and handed out again */
	uint64_t nrounds, cpu_us;               /* of giving back */
	uint64_t nhelpers;                      /* helper threads started */
};

/* Takes each lock for an instant; caches whose lock is taken are left out. Allocates nothing.
 * The heap is there. ctx: alloc, no lock held */
void stats_collect(struct stats *out);

/* All parts of the heap: heap_bytes, if nobody is at work. ctx: any */
uint64_t stats_sum(const struct stats *st);

/* Slots of class c. ctx: any */
uint64_t stats_slots(const struct stats *st, unsigned c);

/* Bytes of a span of class c behind its last slot. ctx: any */
size_t stats_tail(unsigned c);

#endif
