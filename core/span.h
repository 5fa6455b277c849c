/* span.h: the record of one span: which of its slots are free.
 *
 * A span is a run of pages cut into equal slots, or one large block. Its record is type-stable:
 * it comes from meta.c, is reused for other spans but never unmapped, so a stale pointer to it may
 * be read; every user checks again what it needs.
 *
 * A slot's states, and the function that leaves each:
 *     free  freed_remote  granule
 *      1         0            0        free in the span             span_take()
 *      0         0            0        in a thread's magazine       cache_alloc_or(), span_put()
 *      0         0          class      allocated to the program     cache_free(), the sweep
 *      0         1            0        freed by a stranger          span_harvest()
 * In mode gc the sweep takes allocated slots to "freed by a stranger" (spanset_put_remote_word()), and
 * their granule holds SIZECLASS_RECLAIMED, here as good as 0, until the slot is allocated again.
 */
#ifndef CORE_SPAN_H
#define CORE_SPAN_H

#include "core/base.h"
#include "core/report.h"
#include "core/sizeclass.h"

struct spanset;

enum span_place {               /* where the owner keeps it                       */
	SPAN_UNUSED,            /* a record without pages                         */
	SPAN_CURRENT,           /* slots are being taken from it                  */
	SPAN_PARTIAL,           /* in the owner's list of spans with free slots   */
	SPAN_FULL,              /* in no list: no slot is free                    */
	SPAN_VACANT,            /* in the owner's list of wholly free spans       */
	SPAN_LARGE              /* one large block                                */
};

struct span {
	/* Constant while the span is in use: any thread reads, no lock. */
	uintptr_t base;
	uint32_t  recip;                        /* span_slot() */
	uint32_t  slot_bytes;                   /* 0 if large */
	page_idx  npages;                       /* of a large span: changed by its block's holder */
	uint16_t  nslots;
	uint8_t   nwords;
	class_idx class;

	/* Written by the owner, with the owner's lock; any thread reads. NULL: large or unused. */
	struct spanset *_Atomic owner;

	/* Owner's lock; of a large span the block's holder. */
	struct span *next, *prev;
	uint16_t  nfree;                        /* ones in `free` */
	uint16_t  nfree_trimmed;                /* what it was when trim_span() came by */
	uint8_t   word;                         /* span_take() begins with this word */
	uint8_t   place;                        /* enum span_place */
	uint16_t  nmoved;                       /* large: ranges that came by os_move_pages();
	                                         * large.c stops at MOVED_MAX in all */
	uint32_t  sweepgen;                     /* the collector's; 0 without one */

	/* Owner's lock; `record` the block's holder. */
	_Alignas(CACHE_LINE) union {
		uint64_t free[SIZECLASS_MAX_WORDS];
		struct {                        /* of a large span; see record.h */
			uint64_t word;
			uint64_t nbytes;        /* asked for */
		} record;
	};

	/* Any thread, atomic. On lines of their own: strangers must not slow the owner. */
	_Alignas(CACHE_LINE) _Atomic uint64_t freed_remote[SIZECLASS_MAX_WORDS];
	_Alignas(CACHE_LINE) struct span *_Atomic news_next;
	_Atomic bool has_news;                  /* it is in somebody's list of news */

	/* Owner's lock. Here because there is room; it changes rarely. */
	uint64_t trimmed;                       /* os pages given back from under free slots, of a
	                                         * partial span: nothing is taken from it */
};

_Static_assert(sizeof(struct span) == (size_t)4 * CACHE_LINE,
               "one line each: constant, free, remote, news");

/* All slots free. The caller publishes the span. ctx: alloc, the owner-to-be */
void span_init(struct span *s, uintptr_t base, class_idx c, const struct sizeclass *geometry);

/* The slot that `p`, an address inside the span, falls into. ctx: any, signal */
HOT unsigned span_slot(const struct span *s, uintptr_t p)
{
	return (unsigned)((p - s->base) * (uint64_t)s->recip >> 32);
}

static inline void *span_slot_address(const struct span *s, unsigned slot)
{
	return (void *)(s->base + (size_t)slot * s->slot_bytes);
}

/* Takes up to `want` free slots; writes their addresses to top[0], top[-1], ..., rising.
 * ctx: alloc, owner's lock */
unsigned span_take(struct span *s, void **top, unsigned want);

/* Makes one slot free. False: it was free already. ctx: alloc, owner's lock */
HOT bool span_put(struct span *s, unsigned slot)
{
	uint64_t *word = &s->free[slot / 64];
	uint64_t bit = UINT64_C(1) << (slot % 64);
	uint64_t old = *word;

	s->word = 0;                            /* memory touched before is used again first */
	*word = old | bit;
	s->nfree = (uint16_t)(s->nfree + !(old & bit));
	return !(old & bit);
}

/* The same for n slots from `first` on. A slot that was free already, or -1. */
int span_put_range(struct span *s, unsigned first, unsigned n);

/* Slots of one word, freed by a thread that does not own the span. The bits of those that were free
 * already. ctx: any, signal. Lock-free. */
uint64_t span_put_remote(struct span *s, unsigned word, uint64_t bits);

/* Makes what strangers freed free. A slot that was free already, or NULL.
 * ctx: alloc, owner's lock */
void *span_harvest(struct span *s);

/* Has a stranger freed something that was not harvested? ctx: any */
bool span_has_remote(const struct span *s);

/* ctx: owner's lock */
void span_verify(const struct span *s);

#endif
