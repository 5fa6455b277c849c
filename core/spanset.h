/* spanset.h: the spans that one owner holds, by span class.
 *
 * The owner is a thread's cache (cache.h), or nobody in particular: the central set (central.h).
 * Slots are taken and put in batches under the owner's lock (struct cache, central.c). Strangers
 * free into a span without the lock and leave it in the owner's list of news.
 */
#ifndef CORE_SPANSET_H
#define CORE_SPANSET_H

#include "core/base.h"
#include "core/heap.h"
#include "core/pages.h"
#include "core/span.h"

/* All zero when new. */
struct spanset {
	/* Any thread, atomic: spans in which strangers freed slots, newest first. */
	struct span *_Atomic news;
	_Atomic uint32_t nnews;

	/* Owner's lock. */
	_Alignas(CACHE_LINE) struct pages_cache pages;
	struct span *spare_spans;               /* records */
	uint32_t nspare_spans;
	uint32_t nuses;                         /* batches so far: does the owner still work? */
	uint32_t nuses_seen;                    /* what it was when the scavenger came by */
	uint32_t idle_since;                    /* heap_now() when it last saw them differ */
	bool     is_aged;                       /* pages given back now count as long free */
	bool     is_tidy;                       /* the scavenger tidied it, and since then no
	                                         * batch, and no news read */
	size_t   nbytes_strange;                /* put into other sets' spans, since the last look */
	size_t   nbytes_loose;                  /* put into spans, less taken, since it was tidied */
	void    *_Atomic twice;                 /* a slot found to be freed twice, to be reported */
	struct span *current[SIZECLASS_NALL];   /* slots are taken from this one */
	struct span *partial[SIZECLASS_NALL];
	struct span *vacant[SIZECLASS_NALL];    /* wholly free, kept for the class */
	page_idx npages_vacant;
	page_idx npages_vacant_low;             /* fewest since the scavenger came by */
	uint16_t class_to_give;                 /* whose vacant spans go next */
};

/* At most so much memory a set keeps in wholly free spans; then half of it goes. Mostly less: the
 * scavenger takes what a set did not need for a period, and who would have to make the heap grow
 * takes all. Spans that stay with their class are worth it: through the pages, 100,000 blocks of
 * mixed sizes that come and go took 36 ns each instead of 24, because blocks of other sizes touch
 * other cache lines of the same memory. */
#define SPANSET_VACANT_PAGES (MIB(256) >> PAGE_SHIFT)

/* Pages in vacant spans of all sets; a hint. */
extern _Atomic page_idx spanset_npages_vacant;

#define SPANSET_PUT_MAX 127

/* Takes 1 to `want` slots of class `c` into top[0], top[-1], ... 0: no memory.
 * ctx: alloc, owner's lock */
unsigned spanset_take(struct spanset *set, class_idx c, void **top, unsigned want);

/* Pages for the owner of `set` (or NULL), if need be after taking everybody's vacant spans, and at
 * last by growing the heap. False: no memory. ctx: alloc, owner's lock */
bool spanset_take_pages(struct spanset *set, page_idx npages, page_idx align_pages,
                        struct run *run);

/* Makes `n` (at most SPANSET_PUT_MAX) slots of class `c`, of whatever owners, free.
 * ctx: alloc, owner's lock */
void spanset_put(struct spanset *set, class_idx c, void **slots, unsigned n);

/* Is it a span of this set? For the holder of its lock the answer stays true. ctx: any */
HOT bool spanset_owns(const struct spanset *set, const struct span *s)
{
	/* relaxed: if it is this set, only the holder of its lock can change that. */
	return atomic_load_explicit(&s->owner, memory_order_relaxed) == set;
}

/* Makes one slot free without any lock. False: it was free already. ctx: any, signal */
bool spanset_put_remote(void *slot);

/* The same for slots of one bitmap word of a span; of a double free it says nothing. */
void spanset_put_remote_word(struct span *s, unsigned word, uint64_t bits);

/* Collects what strangers freed. ctx: alloc, owner's lock */
void spanset_harvest(struct spanset *set);

/* Collects what strangers freed, gives wholly free spans and cached pages back and, if
 * `with_trim`, the os pages inside others that hold no block. Bytes advised.
 * ctx: alloc, owner's lock */
size_t spanset_tidy(struct spanset *set, bool with_trim);

/* Gives vacant spans of `npages` in all, or a little more, back to the pages.
 * ctx: alloc, owner's lock */
void spanset_give_vacant(struct spanset *set, page_idx npages);

/* Moves the spans that have free slots from one set to the other. ctx: alloc, both locks */
void spanset_move(struct spanset *from, struct spanset *to);

/* The same for one partial span of class c. False: there is none. ctx: alloc, both locks */
bool spanset_move_one(struct spanset *from, struct spanset *to, class_idx c);

/* A record for a span from the set's few spare ones, or from the heap if `set` is NULL or has
 * none; NULL: no memory. ctx: alloc, owner's lock */
struct span *spanset_new_record(struct spanset *set);

/* The record is unused. ctx: alloc, owner's lock */
void spanset_drop_record(struct spanset *set, struct span *s);

/* ctx: owner's lock */
void spanset_verify(const struct spanset *set);

#endif
