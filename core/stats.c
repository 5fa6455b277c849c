/* stats.c: counting what the heap is made of.
 *
 * Reached from preload/info.c and verify.c. Depends on heap.c, cache.c, central.c, meta.c and the
 * counters of scavenge.c, discard.c and helper.c. Spans are counted by walking all records ever
 * made, without their owners' locks: what is read of a record may be half-old, hence every figure
 * is bounded by the geometry of its class. Used slots are those that are in no other state.
 */
#include "core/stats.h"

#include "core/cache.h"
#include "core/central.h"
#include "core/discard.h"
#include "core/heap.h"
#include "core/live.h"
#include "core/magazine.h"
#include "core/meta.h"
#include "core/scavenge.h"
#include "core/sigmask.h"

#include <string.h>

/* A field that its owner may be writing. */
#define peek(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define RACY __attribute__((no_sanitize("thread")))

/* While pages are counted; caches of pages hold some of each. */
struct sums {
	struct stats *st;
	uint64_t nclean, nlazy, ndirty, nfresh;
};

static uint64_t at_most(uint64_t n, uint64_t limit)
{
	return n < limit ? n : limit;
}

static RACY unsigned count_remote(const struct span *s, unsigned nwords)
{
	unsigned n = 0;

	/* relaxed: a moment's value. */
	for (unsigned w = 0; w < nwords; w++)
		n += bit_count(atomic_load_explicit(&s->freed_remote[w], memory_order_relaxed));
	return n;
}

static RACY void add_slots(const struct span *s, bool is_current, struct stats *st)
{
	class_idx c = peek(s->class);

	if (c == SIZECLASS_NONE || c >= SIZECLASS_LARGE)
		return;

	const struct sizeclass *geometry = &heap.classes->class[c];
	struct stats_class *sc = &st->class[c];
	uint64_t nfree = at_most(peek(s->nfree), geometry->nslots);

	sc->nspans++;
	sc->nremote += at_most(count_remote(s, geometry->nwords), geometry->nslots - nfree);
	*(is_current ? &sc->ncurrent : &sc->npartial) += nfree;
}

static RACY void add_span(const struct span *s, void *arg)
{
	struct stats *st = arg;
	uint8_t place = peek(s->place);

	st->nrecords++;
	if (place == SPAN_LARGE) {
		st->nlarge++;
		st->nlarge_moved += peek(s->nmoved) != 0;
		st->large_bytes += (uint64_t)peek(s->npages) << PAGE_SHIFT;
	} else if (place != SPAN_UNUSED) {
		add_slots(s, place == SPAN_CURRENT, st);
	}
}

/* Under the lock of `set`. */
static void add_set(const struct spanset *set, void *arg)
{
	struct sums *sums = arg;
	const struct pages_cache *pages = &set->pages;

	sums->nclean += bit_count(pages->clean);
	sums->nfresh += bit_count(pages->clean & pages->fresh);
	sums->nlazy += bit_count(pages->lazy);
	sums->ndirty += bit_count(pages->free & ~pages->clean & ~pages->lazy);
	sums->st->nbatches += set->nuses;
	/* relaxed: a hint. */
	sums->st->nnews += atomic_load_explicit(&set->nnews, memory_order_relaxed);
}

/* Under the cache's lock, which its own thread's pops and pushes do not take. */
static RACY void add_cache(struct cache *k, void *arg)
{
	struct sums *sums = arg;
	struct stats *st = sums->st;

	st->ncaches++;
	st->ncaches_used += peek(k->is_used);
	st->nwaits_cache += lock_nwaits(&k->lock.strangers);
	for (unsigned c = 1; c < SIZECLASS_LARGE; c++)
		st->class[c].nmagazine += (uint32_t)magazine_count_slots(k, (class_idx)c);
	add_set(&k->spans, sums);
}

static void add_pages(struct sums *sums)
{
	const struct pages *p = &heap.pages;
	struct stats *st = sums->st;
	struct sigmask saved;

	heap_enter(&saved);
	sums->nclean += p->nclean;
	sums->nfresh += p->nfresh;
	sums->nlazy += p->nlazy;
	sums->ndirty += pages_ndirty(p);
	st->heap_bytes = (uint64_t)p->npages << PAGE_SHIFT;
	st->peak_bytes = (uint64_t)heap.npages_peak << PAGE_SHIFT;
	st->reused_bytes = p->nreused << PAGE_SHIFT;
	heap_leave(&saved);

	st->untouched_bytes = sums->nfresh << PAGE_SHIFT;
	st->released_bytes = (sums->nclean - sums->nfresh) << PAGE_SHIFT;
	st->lazy_bytes = sums->nlazy << PAGE_SHIFT;
	st->dirty_bytes = sums->ndirty << PAGE_SHIFT;
}

uint64_t stats_slots(const struct stats *st, unsigned c)
{
	return (uint64_t)st->class[c].nspans * heap.classes->class[c].nslots;
}

size_t stats_tail(unsigned c)
{
	const struct sizeclass *geometry = &heap.classes->class[c];

	return geometry->npages * PAGE_BYTES - (size_t)geometry->nslots * geometry->slot_bytes;
}

/* What is in no other state is used; a slot seen in two, on its way, counts for the first. */
static void add_class(struct stats *st, unsigned c)
{
	struct stats_class *sc = &st->class[c];
	uint64_t slot_bytes = heap.classes->class[c].slot_bytes;
	uint64_t left = stats_slots(st, c) - sc->ncurrent - sc->npartial - sc->nremote;

	sc->nmagazine = (uint32_t)at_most(sc->nmagazine, left);
	sc->nused = left - sc->nmagazine;
	st->used_bytes += sc->nused * slot_bytes;
	st->magazine_bytes += sc->nmagazine * slot_bytes;
	st->current_bytes += sc->ncurrent * slot_bytes;
	st->partial_bytes += sc->npartial * slot_bytes;
	st->remote_bytes += sc->nremote * slot_bytes;
	st->tail_bytes += sc->nspans * stats_tail(c);
}

static uint64_t counter(const _Atomic uint64_t *n)
{
	/* relaxed: a moment's value. */
	return atomic_load_explicit(n, memory_order_relaxed);
}

static void add_events(struct stats *st)
{
	const struct discard_counts *n = &discard_counts;

	st->dontneed = (struct stats_calls){ counter(&n->ndiscards), counter(&live.released_bytes) };
	st->lazy = (struct stats_calls){ counter(&n->nlazy), counter(&live.lazy_bytes) };
	st->tables = (struct stats_calls){ counter(&n->ntable_discards),
		                           counter(&live.table_bytes) };
	st->trimmed_bytes = counter(&live.trimmed_bytes);
	st->madvise_ns = counter(&live.madvise_ns);
	st->nrefused = counter(&n->nfailed);
	st->nrounds = counter(&scavenge_counts.nrounds);
	st->cpu_us = counter(&scavenge_counts.cpu_us);
	st->nhelpers = counter(&helper_nstarted);
	st->nwaits_central = lock_nwaits(&central_lock);
	st->nwaits_pages = lock_nwaits(&heap.lock);
}

void stats_collect(struct stats *out)
{
	struct sums sums = { .st = out };

	memset(out, 0, sizeof *out);
	heap_visit_spans(add_span, out);
	cache_visit(add_cache, &sums);
	central_visit(add_set, &sums);
	add_pages(&sums);
	for (unsigned c = 1; c < SIZECLASS_LARGE; c++)
		add_class(out, c);
	out->reserved_bytes = heap.region.nbytes;
	out->metadata_bytes = meta_bytes();
	add_events(out);
}

uint64_t stats_sum(const struct stats *st)
{
	return st->used_bytes + st->magazine_bytes + st->current_bytes + st->partial_bytes
	       + st->remote_bytes + st->tail_bytes + st->large_bytes + st->dirty_bytes
	       + st->lazy_bytes + st->released_bytes + st->untouched_bytes;
}
