/* mark_dirty.c: what is read only for a collection: threads' words by the rule for free slots, and os
 * pages that were written: see mark.h.
 *
 * Reached from the collector, and from workers that take such pages as items of work. Which blocks are
 * marked is looked up when a page is read: one that is marked later is read whole.
 */
#include "scan/marker.h"

#define PAGES_AN_ITEM 8
#define BATCH 32

/* --- threads --- */

static void mark_thread_word(struct worker *w, uintptr_t p)
{
	size_t g = marker_granule(p);
	struct found f;

	if (marker_is_set(g))
		return;
	if (marker_find(p, &f))
		marker_mark(w, &f);
	else if (!sizeclass_is_block(marker_class(p)))
		marker_set(g);
}

void mark_threads_range(uintptr_t from, uintptr_t to)
{
	struct worker *w = &marker.worker[0];
	size_t nbytes = marker_nbytes();
	uintptr_t batch[BATCH];
	unsigned n = 0;

	w->counts.nbytes += to - from;
	for (uintptr_t at = align_up(from, marker.align); at + WORD <= to; at += marker.align) {
		uintptr_t p = work_from(marker_word(at));

		if (p - marker.base >= nbytes)
			continue;
		__builtin_prefetch((const void *)&marker.bits[marker_granule(p) / 64]);
		__builtin_prefetch((const void *)&marker.granules[marker_granule(p)]);
		batch[n++] = p;
		if (n < BATCH)
			continue;
		for (unsigned i = 0; i < BATCH; i++)
			mark_thread_word(w, batch[i]);
		n = 0;
	}
	for (unsigned i = 0; i < n; i++)
		mark_thread_word(w, batch[i]);
}

/* --- pages that were written --- */

/* Of blocks of `block_bytes` each. A word that is not aligned may lie across the border. */
static void read_part(struct worker *w, size_t block_bytes, uintptr_t start, uintptr_t end, uintptr_t from,
                      uintptr_t to)
{
	size_t beyond = WORD - marker.align;

	from = start + beyond < from ? from - beyond : start;
	to = end > to + beyond ? to + beyond : end;
	if (from < to)
		marker_read(w, from, to, block_bytes);
}

static bool is_marked(uintptr_t block)
{
	return marker_is_set(marker_granule(block));
}

/* Neighbours are read as one, but for what must be left out between them. */
static void read_slots(struct worker *w, const struct around *s, uintptr_t from, uintptr_t to)
{
	const struct sizeclass *c = &heap.classes->class[s->class];
	size_t first = (from - s->base) * (uint64_t)c->recip >> 32;
	uintptr_t at = s->base + first * c->slot_bytes;
	uintptr_t limit = s->base + (size_t)c->nslots * c->slot_bytes;
	bool is_apart = marker.measure || marker.end_skipped >= WORD;

	if (sizeclass_is_noscan(s->class))
		return;
	while (at < to && at < limit) {
		struct found f = { at, c->slot_bytes, s->class };

		if (!is_marked(at)) {
			at += f.nbytes;
			continue;
		}
		for (at += f.nbytes; !is_apart && at < to && at < limit && is_marked(at);)
			at += f.nbytes;
		read_part(w, f.nbytes, f.start, is_apart ? f.start + marker_bytes_to_read(&f) : at, from, to);
	}
}

static void read_large(struct worker *w, const struct around *s, uintptr_t from, uintptr_t to)
{
	struct found f = { s->base, s->nbytes, s->class };

	if (is_marked(s->base))
		read_part(w, f.nbytes, f.start, f.start + marker_bytes_to_read(&f), from, to);
}

void marker_read_dirty(struct worker *w, uintptr_t from, uintptr_t to)
{
	while (from < to) {
		uintptr_t end = align_down(from, PAGE_BYTES) + PAGE_BYTES;
		struct around s;

		end = end < to ? end : to;
		if (marker_look(from, &s))
			(s.class == SIZECLASS_LARGE ? read_large : read_slots)(w, &s, from, end);
		from = end;
	}
}

void mark_dirty(uintptr_t from, uintptr_t to)
{
	uintptr_t limit = marker.base + marker_nbytes();
	struct worker *w = &marker.worker[0];

	marker_know_mappings();
	to = to < limit ? to : limit;
	while (from < to) {
		uintptr_t end = to - from > PAGES_AN_ITEM * OS_PAGE_BYTES
		                ? from + PAGES_AN_ITEM * OS_PAGE_BYTES : to;
		uintptr_t item = from + (end - from) / OS_PAGE_BYTES;

		if (!work_push(&w->work, work_item_of(item, DIRTY_WORDS)))
			marker_read_dirty(w, from, end);
		work_share(&w->work);
		from = end;
	}
}
