/* spanset.c: the spans of one owner.
 *
 * Reached from cache.c (a thread's own), central.c (nobody's) and sweep.c (a stranger). Depends on
 * span.c, heap.c, trim.c, budget.c and, before a fresh span is made or the heap grows while the collector's
 * garbage waits, on sweep.c. The owner's lock is held throughout, except in spanset_put_remote() and its
 * relative, which take none.
 *
 * Remote frees, the rules that make them safe without a lock:
 *     a stranger sets bits in freed_remote, then has_news; if that was false, it pushes the span
 *     on the news of the owner it then sees. Between the two the owner may harvest the bits, find
 *     the span free and give it away, and the record may serve another span by then: the record
 *     is type-stable, a span in the wrong list is passed on to its owner by who finds it, and a
 *     span without owner is dropped from the list unless bits wait (then it has an owner again).
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
#include "core/sweep.h"
#include "core/trim.h"

#define SPARE_SPANS 32                          /* records at hand */
#define RECORDS_AT_A_TIME 8
#define SWEEP_BEFORE_SPAN_BYTES KIB(256)
#define SWEEP_BEFORE_GROWTH_BYTES MIB(4)
#define GIVE_MIN_PAGES PAGES_GROUP              /* a lock is worth so many */

_Atomic page_idx spanset_npages_vacant;

static void set_owner(struct span *s, struct spanset *owner)
{
	/* release: a stranger that finds the owner in notify() finds it initialised. */
	atomic_store_explicit(&s->owner, owner, memory_order_release);
}

static struct spanset *owner_of(const struct span *s)
{
	/* acquire: pairs with set_owner(). */
	return atomic_load_explicit(&s->owner, memory_order_acquire);
}

static void list_add(struct spanset *set, struct span *s)
{
	struct span *head = set->partial[s->class];

	s->place = SPAN_PARTIAL;
	s->prev = NULL;
	s->next = head;
	if (head)
		head->prev = s;
	set->partial[s->class] = s;
}

static void list_remove(struct spanset *set, struct span *s)
{
	if (s->prev)
		s->prev->next = s->next;
	else
		set->partial[s->class] = s->next;
	if (s->next)
		s->next->prev = s->prev;
}

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
	set_owner(s, NULL);
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
	set_owner(s, set);
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
	list_remove(set, s);
	return s;
}

/* One more span of class c for the set's current. */
static struct span *find_span(struct spanset *set, class_idx c)
{
	struct span *s = set->partial[c];

	if (!s && central_lend(set, c))
		s = set->partial[c];
	if (s) {
		list_remove(set, s);
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

static void set_loose(struct spanset *set, size_t nbytes)
{
	helper_note_loose(set->nbytes_loose, nbytes);
	set->nbytes_loose = nbytes;
}

unsigned spanset_take(struct spanset *set, class_idx c, void **top, unsigned want)
{
	set->nuses++;
	if (unlikely(!set->current[c] || !set->current[c]->nfree) && !replace_current(set, c))
		return 0;

	struct span *s = set->current[c];
	unsigned n = span_take(s, top, want);
	size_t nbytes = (size_t)n * s->slot_bytes;

	set_loose(set, nbytes < set->nbytes_loose ? set->nbytes_loose - nbytes : 0);
	budget_take(nbytes);
	return n;
}

/* A wholly free span, in no list. */
static void keep(struct spanset *set, struct span *s)
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

static void note_twice(struct spanset *set, void *slot)
{
	/* relaxed: to be reported by whoever sees it. */
	if (unlikely(slot != NULL))
		atomic_store_explicit(&set->twice, slot, memory_order_relaxed);
}

/* Slots of `s` became free: is it in the right list still? */
static void settle(struct spanset *set, struct span *s)
{
	if (s->place == SPAN_FULL && s->nfree)
		list_add(set, s);
	if (s->nfree < s->nslots || s->place != SPAN_PARTIAL)
		return;
	list_remove(set, s);
	keep(set, s);
}

static void push_news(struct spanset *set, struct span *s)
{
	/* relaxed: the exchange below orders it. */
	struct span *head = atomic_load_explicit(&set->news, memory_order_relaxed);

	do {
		/* relaxed: published by the exchange below. */
		atomic_store_explicit(&s->news_next, head, memory_order_relaxed);
		/* release: pairs with the acquire in spanset_harvest(). */
	} while (!atomic_compare_exchange_weak_explicit(&set->news, &head, s,
	                                                memory_order_release,
	                                                memory_order_relaxed));
	/* relaxed: a hint. */
	atomic_fetch_add_explicit(&set->nnews, 1, memory_order_relaxed);
}

/* Tells the owner of `s` that strangers freed slots in it. ctx: any, signal. Lock-free. */
static void notify(struct span *s)
{
	/* It reads true only if the span is in a list whose reader has yet to clear it
	 * (read_news()), and that reader then sees our bits. */
	/* seq_cst: orders the look after the bits of span_put_remote(), against read_news(), which
	 * clears has_news before it looks at the bits. */
	while (!atomic_load_explicit(&s->has_news, memory_order_seq_cst)
	       && !atomic_exchange_explicit(&s->has_news, true, memory_order_seq_cst)) {
		struct spanset *owner = owner_of(s);

		if (owner) {
			push_news(owner, s);
			return;
		}
		/* It became free and left its owner. seq_cst: before the look at the bits, as in
		 * read_news(). */
		atomic_exchange_explicit(&s->has_news, false, memory_order_seq_cst);
		if (!span_has_remote(s))
			return;
	}
}

static void read_news(struct spanset *set, struct span *s)
{
	/* seq_cst: before the look at the bits; see notify(). */
	atomic_exchange_explicit(&s->has_news, false, memory_order_seq_cst);
	if (owner_of(s) != set) {
		if (span_has_remote(s))
			notify(s);
		return;
	}

	note_twice(set, span_harvest(s));
	settle(set, s);
}

void spanset_harvest(struct spanset *set)
{
	/* relaxed: news missed here are found next time. */
	if (!atomic_load_explicit(&set->news, memory_order_relaxed))
		return;
	/* relaxed: a hint. */
	atomic_store_explicit(&set->nnews, 0, memory_order_relaxed);
	/* acquire: pairs with the release in push_news(). */
	struct span *s = atomic_exchange_explicit(&set->news, NULL, memory_order_acquire);

	while (s) {
		/* relaxed: ordered by the acquire above. Read first: once read_news() has cleared
		 * has_news, a stranger may push the span again. */
		struct span *next = atomic_load_explicit(&s->news_next, memory_order_relaxed);

		read_news(set, s);
		s = next;
	}
}

/* A slot on its way back. */
struct put {
	struct span *span;
	unsigned slot;
};

static struct put locate(const void *p)
{
	struct span *s = heap_span((uintptr_t)p);

	return (struct put){ s, span_slot(s, (uintptr_t)p) };
}

/* Frees slots of one bitmap word of somebody else's span. */
static void put_bits_strange(struct spanset *set, struct span *s, unsigned word, uint64_t bits)
{
	/* Read first: once the bits are set, the span may become free and its record another's. */
	size_t slot_bytes = s->slot_bytes;
	uintptr_t base = (uintptr_t)span_slot_address(s, word * 64);
	uint64_t both = span_put_remote(s, word, bits);

	set->nbytes_strange += bit_count(bits) * slot_bytes;
	if (unlikely(both))
		note_twice(set, (void *)(base + bit_first(both) * slot_bytes));
	notify(s);
}

/* Frees those at the front that share one bitmap word of somebody else's span; how many. */
static unsigned put_strange(struct spanset *set, const struct put *put, unsigned n)
{
	unsigned word = put->slot / 64, i = 0;
	uint64_t bits = 0;

	for (; i < n && put[i].span == put->span && put[i].slot / 64 == word; i++) {
		uint64_t bit = UINT64_C(1) << put[i].slot % 64;

		if (bits & bit)
			break;
		bits |= bit;
	}
	put_bits_strange(set, put->span, word, bits);
	return i;
}

static void put_own(struct spanset *set, struct put put)
{
	struct span *s = put.span;

	if (unlikely(!span_put(s, put.slot)))
		note_twice(set, span_slot_address(s, put.slot));
	if (unlikely(s->place == SPAN_FULL || s->nfree == s->nslots))
		settle(set, s);
}

/* Slots in no order. Finding the places comes first: in one loop with the stores to the bitmaps,
 * each lookup would wait until the store before it knows its address (random order of 10,000
 * blocks: 16.2 ns a block instead of 17.7). */
static void put_scattered(struct spanset *set, void **slots, unsigned n)
{
	struct put put[SPANSET_PUT_MAX];

	for (unsigned i = 0; i < n; i++)
		put[i] = locate(slots[i]);
	for (unsigned i = 0; i < n;) {
		if (unlikely(put[i].slot >= put[i].span->nslots))
			note_twice(set, slots[i++]);    /* freed twice, its span is no more */
		else if (likely(spanset_owns(set, put[i].span)))
			put_own(set, put[i++]);
		else
			i += put_strange(set, put + i, n - i);
	}
}

/* How many at the front lie `step` bytes apart. */
static unsigned count_steps(void **slots, unsigned n, ptrdiff_t step)
{
	unsigned i = 1;

	while (i < n && (char *)slots[i] - (char *)slots[i - 1] == step)
		i++;
	return i;
}

/* Frees up to n neighbours, rising or falling; how many: fewer where their span ends. */
static unsigned put_run(struct spanset *set, void **slots, unsigned n, bool is_rising)
{
	struct put put = locate(slots[0]);
	struct span *s = put.span;
	unsigned room = is_rising ? s->nslots - put.slot : put.slot + 1u;

	if (unlikely(put.slot >= s->nslots || !spanset_owns(set, s))) {
		put_scattered(set, slots, 1);
		return 1;
	}
	if (n > room)
		n = room;
	int twice = span_put_range(s, is_rising ? put.slot : put.slot + 1 - n, n);

	if (unlikely(twice >= 0))
		note_twice(set, span_slot_address(s, (unsigned)twice));
	if (unlikely(s->place == SPAN_FULL || s->nfree == s->nslots))
		settle(set, s);
	return n;
}

/* What is freed in the order of its allocation, or the reverse, comes as neighbours. */
static void put_runs(struct spanset *set, void **slots, unsigned n, ptrdiff_t slot_bytes)
{
	while (n > 1) {
		ptrdiff_t step = (char *)slots[1] - (char *)slots[0];
		bool is_run = step == slot_bytes || step == -slot_bytes;
		unsigned nput = put_run(set, slots, is_run ? count_steps(slots, n, step) : 1,
		                        step > 0);

		slots += nput;
		n -= nput;
	}
	if (n)
		put_run(set, slots, 1, true);
}

void spanset_put(struct spanset *set, class_idx c, void **slots, unsigned n)
{
	ptrdiff_t slot_bytes = heap.classes->class[c].slot_bytes;
	ptrdiff_t step = n > 1 ? (char *)slots[1] - (char *)slots[0] : 0;

	dcheck(n <= SPANSET_PUT_MAX);
	set->nuses++;
	set_loose(set, set->nbytes_loose + n * (size_t)slot_bytes);
	budget_give(n * (size_t)slot_bytes);
	/* Strangers' slots too, since put_scattered() knows how to gather them. */
	if ((step == slot_bytes || step == -slot_bytes)
	    && spanset_owns(set, heap_span((uintptr_t)slots[0])))
		put_runs(set, slots, n, slot_bytes);
	else
		put_scattered(set, slots, n);
}

void spanset_put_remote_word(struct span *s, unsigned word, uint64_t bits)
{
	span_put_remote(s, word, bits);
	notify(s);
}

bool spanset_put_remote(void *slot)
{
	struct put put = locate(slot);

	if (put.slot >= put.span->nslots)
		return false;
	budget_give(put.span->slot_bytes);

	bool is_sound = !span_put_remote(put.span, put.slot / 64, UINT64_C(1) << put.slot % 64);

	notify(put.span);
	return is_sound;
}

bool spanset_move_one(struct spanset *from, struct spanset *to, class_idx c)
{
	struct span *s = from->partial[c];

	if (!s)
		return false;
	list_remove(from, s);
	set_owner(s, to);
	list_add(to, s);
	return true;
}

void spanset_move(struct spanset *from, struct spanset *to)
{
	for (unsigned c = 1; c < SIZECLASS_LARGE; c++) {
		struct span *s = from->current[c];

		from->current[c] = NULL;
		if (s && s->nfree)
			list_add(from, s);
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
	set_loose(set, 0);
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

		check(!s || (s->place == SPAN_CURRENT && s->class == c && owner_of(s) == set));
		if (s)
			span_verify(s);
		for (s = set->partial[c]; s; s = s->next) {
			check(s->place == SPAN_PARTIAL && s->class == c && owner_of(s) == set);
			check(s->nfree > 0 && s->nfree < s->nslots);
			span_verify(s);
		}
		for (s = set->vacant[c]; s; s = s->next) {
			check(s->place == SPAN_VACANT && s->class == c && owner_of(s) == set);
			check(s->nfree == s->nslots);
			npages += s->npages;
		}
	}
	check(npages == set->npages_vacant);
}
