/* spanset.c: the spans of one owner, and where more of them come from. Slots on their way back are
 * spanset_put.c's.
 *
 * Reached from cache.c (a thread's own), central.c (nobody's) and, for what is vacant, sweep.c and
 * scavenge.c. Depends on span.c, heap.c, trim.c, budget.c and, before a fresh span is made or the heap grows
 * while the collector's garbage waits, on sweep.c. The owner's lock is held throughout.
 *
 * Invariants, checked by spanset_verify():
 *   O1  current and partial spans have owner == set and the class of their list;
 *   O2  a partial span has at least one free slot and one that is not;
 *   O3  a vacant span has no slot that is not free; npages_vacant counts their pages;
 *   O4  a span of the set that is in no list is SPAN_FULL with no free slot.
 */
#include "core/spanset.h"

#include "core/budget.h"
#include "core/cache.h"
#include "core/central.h"
#include "core/helper.h"
#include "core/knobs.h"
#include "core/sigmask.h"
#include "core/spanset_lists.h"
#include "core/sweep.h"
#include "core/trim.h"

#define SPARE_SPANS 32                          /* records at hand */
#define RECORDS_AT_A_TIME 8
#define SWEEP_BEFORE_SPAN_BYTES KIB(256)
#define SWEEP_BEFORE_GROWTH_BYTES MIB(4)
#define GIVE_MIN_PAGES PAGES_GROUP              /* a lock is worth so many */

_Atomic page_idx spanset_npages_vacant;

struct span *spanset_new_record(struct spanset *set)
{
	struct span *s = NULL;

	if (!set)
		return heap_new_spans(&s, 1) ? s : NULL;
	if (!set->spare_spans)
		set->nspare_spans = heap_new_spans(&set->spare_spans, RECORDS_AT_A_TIME);
	s = set->spare_spans;
	if (s) {
		set->spare_spans = s->next;
		set->nspare_spans--;
	}
	return s;
}

static bool keep_record(struct spanset *set, struct span *s)
{
	if (!set || set->nspare_spans >= SPARE_SPANS)
		return false;
	s->place = SPAN_UNUSED;
	s->next = set->spare_spans;
	set->spare_spans = s;
	set->nspare_spans++;
	return true;
}

void spanset_drop_record(struct spanset *set, struct span *s)
{
	if (!keep_record(set, s))
		heap_drop_span(s);
}

/* A wholly free span, in no list, goes back to the pages. LOCK_PAGES is held. */
static void give_span_locked(struct spanset *set, struct span *s)
{
	page_idx first = heap_page(s->base);

	dcheck(s->nfree == s->nslots);
	trim_forget(s);
	spanset_set_owner(s, NULL);
	s->place = SPAN_UNUSED;
	if (set->is_aged)
		heap_put_pages(first, s->npages, PAGES_DIRTY, heap_long_ago());
	else if (!pages_cache_free(&set->pages, first, s->npages))
		heap_put_pages(first, s->npages, PAGES_DIRTY, heap_now());
	if (!keep_record(set, s))
		heap_put_span(s);
}

static void give_span(struct spanset *set, struct span *s)
{
	struct sigmask saved;

	heap_enter(&saved);
	give_span_locked(set, s);
	heap_leave(&saved);
}

static struct span *take_vacant(struct spanset *set, unsigned c)
{
	struct span *s = set->vacant[c];

	if (!s)
		return NULL;
	set->vacant[c] = s->next;
	set->npages_vacant -= s->npages;
	/* relaxed, here and in keep(): a hint. */
	atomic_fetch_sub_explicit(&spanset_npages_vacant, s->npages, memory_order_relaxed);
	if (set->npages_vacant < set->npages_vacant_low)
		set->npages_vacant_low = set->npages_vacant;
	return s;
}

void spanset_give_vacant(struct spanset *set, page_idx npages)
{
	page_idx left = npages < set->npages_vacant ? set->npages_vacant - npages : 0;
	struct sigmask saved;
	struct span *s;

	if (set->npages_vacant == left)
		return;
	heap_enter(&saved);                     /* one lock for all */
	while (set->npages_vacant > left) {
		set->class_to_give = (uint16_t)((set->class_to_give + 1) % SIZECLASS_LARGE);
		while (set->npages_vacant > left && (s = take_vacant(set, set->class_to_give)))
			give_span_locked(set, s);
	}
	heap_leave(&saved);
}

/* Before the heap grows, the collector's garbage. */
static bool take_swept_pages(struct spanset *set, page_idx npages, page_idx align_pages,
                             struct run *run)
{
	size_t piece = (size_t)npages << PAGE_SHIFT;

	if (piece < SWEEP_BEFORE_GROWTH_BYTES)
		piece = SWEEP_BEFORE_GROWTH_BYTES;
	while (unlikely(sweep_is_wanted())) {
		sweep_some(piece);
		if (set) {
			spanset_harvest(set);
			spanset_give_vacant(set, set->npages_vacant);
		}
		if (heap_take_pages(set ? &set->pages : NULL, npages, align_pages, false, run))
			return true;
	}
	return false;
}

bool spanset_take_pages(struct spanset *set, page_idx npages, page_idx align_pages,
                        struct run *run)
{
	struct pages_cache *cache = set ? &set->pages : NULL;

	if (set && set->npages_vacant)
		spanset_give_vacant(set, npages > GIVE_MIN_PAGES ? npages : GIVE_MIN_PAGES);
	if (heap_take_pages(cache, npages, align_pages, false, run))
		return true;
	/* relaxed: a hint. */
	if (atomic_load_explicit(&spanset_npages_vacant, memory_order_relaxed) >= npages)
		cache_give_vacant();
	return take_swept_pages(set, npages, align_pages, run)
	       || heap_take_pages(cache, npages, align_pages, true, run);
}

static struct span *fresh_span(struct spanset *set, class_idx c)
{
	const struct sizeclass *geometry = &heap.classes->class[c];
	struct span *s = spanset_new_record(set);
	struct run run;

	if (!s)
		return NULL;
	if (!spanset_take_pages(set, geometry->npages, 1, &run)) {
		spanset_drop_record(set, s);
		return NULL;
	}
	span_init(s, heap_address(run.first), c, geometry);
	spanset_set_owner(s, set);
	heap_map_span(run.first, run.npages, s);
	return s;
}

/* Part of the collector's garbage becomes free: a span of class c that has some? */
static SLOW struct span *swept_span(struct spanset *set, class_idx c)
{
	struct span *s;

	sweep_some(SWEEP_BEFORE_SPAN_BYTES);
	spanset_harvest(set);
	s = set->partial[c];
	if (!s)
		return take_vacant(set, c);
	spanset_list_remove(set, s);
	return s;
}

/* One more span of class c for the set's current. */
static struct span *find_span(struct spanset *set, class_idx c)
{
	struct span *s = set->partial[c];

	if (!s && central_lend(set, c))
		s = set->partial[c];
	if (s) {
		spanset_list_remove(set, s);
		return s;
	}
	s = take_vacant(set, c);
	if (!s && unlikely(sweep_is_wanted()))
		s = swept_span(set, c);
	return s ? s : fresh_span(set, c);
}

static bool replace_current(struct spanset *set, class_idx c)
{
	struct span *s = set->current[c];

	spanset_harvest(set);
	if (s && s->nfree)
		return true;
	if (s)
		s->place = SPAN_FULL;
	set->current[c] = NULL;
	set->current[c] = s = find_span(set, c);
	if (!s)
		return false;
	trim_forget(s);
	s->place = SPAN_CURRENT;
	return true;
}

unsigned spanset_take(struct spanset *set, class_idx c, void **top, unsigned want)
{
	set->nuses++;
	if (unlikely(!set->current[c] || !set->current[c]->nfree) && !replace_current(set, c))
		return 0;

	struct span *s = set->current[c];
	unsigned n = span_take(s, top, want);
	size_t nbytes = (size_t)n * s->slot_bytes;

	spanset_set_loose(set, nbytes < set->nbytes_loose ? set->nbytes_loose - nbytes : 0);
	budget_take(nbytes);
	return n;
}

void spanset_keep(struct spanset *set, struct span *s)
{
	/* Nobody's is for everybody; and free memory may not wait if the user said so. */
	if (set == &central || !knobs.release_delay_ms || knobs.memory_limit_bytes != KNOB_OFF) {
		give_span(set, s);
		return;
	}
	s->place = SPAN_VACANT;
	s->next = set->vacant[s->class];
	set->vacant[s->class] = s;
	set->npages_vacant += s->npages;
	page_idx nall = s->npages + atomic_fetch_add_explicit(&spanset_npages_vacant, s->npages,
	                                                      memory_order_relaxed);

	if (set->npages_vacant > SPANSET_VACANT_PAGES)
		spanset_give_vacant(set, SPANSET_VACANT_PAGES / 2);
	helper_expect((size_t)nall << PAGE_SHIFT);
}

bool spanset_move_one(struct spanset *from, struct spanset *to, class_idx c)
{
	struct span *s = from->partial[c];

	if (!s)
		return false;
	spanset_list_remove(from, s);
	spanset_set_owner(s, to);
	spanset_list_add(to, s);
	return true;
}

void spanset_move(struct spanset *from, struct spanset *to)
{
	for (unsigned c = 1; c < SIZECLASS_LARGE; c++) {
		struct span *s = from->current[c];

		from->current[c] = NULL;
		if (s && s->nfree)
			spanset_list_add(from, s);
		else if (s)
			s->place = SPAN_FULL;
		while (spanset_move_one(from, to, (class_idx)c))
			;
	}
}

static void give_free_current(struct spanset *set, unsigned c)
{
	struct span *s = set->current[c];

	if (s && s->nfree == s->nslots) {
		set->current[c] = NULL;
		give_span(set, s);
	}
}

size_t spanset_tidy(struct spanset *set, bool with_trim)
{
	size_t nbytes = 0;

	spanset_harvest(set);
	spanset_set_loose(set, 0);
	spanset_give_vacant(set, set->npages_vacant);
	for (unsigned c = 1; c < SIZECLASS_LARGE; c++) {
		give_free_current(set, c);
		for (struct span *s = set->partial[c]; s && with_trim; s = s->next)
			nbytes += trim_span(s);
		if (set->current[c] && with_trim)
			nbytes += trim_span(set->current[c]);
	}
	heap_return_cache(&set->pages);
	return nbytes;
}

void spanset_verify(const struct spanset *set)
{
	page_idx npages = 0;

	for (unsigned c = 1; c < SIZECLASS_LARGE; c++) {
		const struct span *s = set->current[c];

		check(!s || (s->place == SPAN_CURRENT && s->class == c && spanset_owner(s) == set));
		if (s)
			span_verify(s);
		for (s = set->partial[c]; s; s = s->next) {
			check(s->place == SPAN_PARTIAL && s->class == c && spanset_owner(s) == set);
			check(s->nfree > 0 && s->nfree < s->nslots);
			span_verify(s);
		}
		for (s = set->vacant[c]; s; s = s->next) {
			check(s->place == SPAN_VACANT && s->class == c && spanset_owner(s) == set);
			check(s->nfree == s->nslots);
			npages += s->npages;
		}
	}
	check(npages == set->npages_vacant);
}
