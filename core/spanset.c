/* spanset.c: the spans of one owner.
 *
 * Reached from cache.c (a thread's own) and central.c (nobody's). Depends on span.c and heap.c.
 * The owner's lock is held throughout, except in spanset_put_remote(), which takes none.
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

#include "core/central.h"
#include "core/scavenge.h"

#define SPARE_SPANS 8

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
	struct span *s = set ? set->spare_spans : NULL;

	if (!s)
		return heap_new_span();
	set->spare_spans = s->next;
	set->nspare_spans--;
	return s;
}

void spanset_drop_record(struct spanset *set, struct span *s)
{
	if (!set || set->nspare_spans == SPARE_SPANS) {
		heap_drop_span(s);
		return;
	}
	s->place = SPAN_UNUSED;
	s->next = set->spare_spans;
	set->spare_spans = s;
	set->nspare_spans++;
}

/* A wholly free span, in no list, goes back to the pages. */
static void give_span(struct spanset *set, struct span *s)
{
	dcheck(s->nfree == s->nslots);
	set_owner(s, NULL);
	heap_give_pages(&set->pages, heap_page(s->base), s->npages, PAGES_DIRTY);
	spanset_drop_record(set, s);
}

static struct span *fresh_span(struct spanset *set, class_idx c)
{
	const struct sizeclass *geometry = &heap.classes->class[c];
	struct span *s = spanset_new_record(set);
	struct run run;

	if (!s)
		return NULL;
	if (!heap_take_pages(&set->pages, geometry->npages, 1, &run)) {
		spanset_drop_record(set, s);
		return NULL;
	}
	span_init(s, heap_address(run.first), c, geometry);
	set_owner(s, set);
	heap_map_span(run.first, run.npages, s);
	return s;
}

static struct span *take_vacant(struct spanset *set, unsigned c)
{
	struct span *s = set->vacant[c];

	if (!s)
		return NULL;
	set->vacant[c] = s->next;
	set->npages_vacant -= s->npages;
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
	set->current[c] = s = find_span(set, c);
	if (!s)
		return false;
	s->place = SPAN_CURRENT;
	return true;
}

unsigned spanset_take(struct spanset *set, class_idx c, void **top, unsigned want)
{
	struct span *s = set->current[c];

	set->nuses++;
	if (unlikely(!s || !s->nfree) && !replace_current(set, c))
		return 0;
	return span_take(set->current[c], top, want);
}

/* A wholly free span, in no list. */
static void keep_or_give(struct spanset *set, struct span *s)
{
	if (set->npages_vacant + s->npages > SPANSET_VACANT_PAGES) {
		give_span(set, s);
		return;
	}
	s->place = SPAN_VACANT;
	s->next = set->vacant[s->class];
	set->vacant[s->class] = s;
	set->npages_vacant += s->npages;
}

/* Slots of `s` became free: is it in the right list still? */
static void settle(struct spanset *set, struct span *s)
{
	if (s->place == SPAN_FULL && s->nfree)
		list_add(set, s);
	if (s->nfree < s->nslots || s->place != SPAN_PARTIAL)
		return;
	list_remove(set, s);
	keep_or_give(set, s);
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
	/* acq_rel: our bits are set before it. It reads true only if the span is in a list whose
	 * reader has yet to clear it (read_news()), and that reader then sees our bits. */
	while (!atomic_exchange_explicit(&s->has_news, true, memory_order_acq_rel)) {
		struct spanset *owner = owner_of(s);

		if (owner) {
			push_news(owner, s);
			return;
		}
		/* It became free and left its owner. release: as above, for the next stranger. */
		atomic_store_explicit(&s->has_news, false, memory_order_release);
		if (!span_has_remote(s))
			return;
	}
}

static void read_news(struct spanset *set, struct span *s)
{
	/* acq_rel: pairs with the exchange in notify(). */
	atomic_exchange_explicit(&s->has_news, false, memory_order_acq_rel);
	if (owner_of(s) != set) {
		if (span_has_remote(s))
			notify(s);
		return;
	}

	void *twice = span_harvest(s);

	if (unlikely(twice != NULL))
		set->twice = twice;
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

/* Frees the slots at the front of `slots` that share one bitmap word of somebody else's span.
 * How many they are; *twice is set if one was free already. */
static unsigned put_run(struct span *s, void **slots, unsigned n, void **twice)
{
	unsigned slot = span_slot(s, (uintptr_t)slots[0]);
	unsigned word = slot / 64, i = 1;
	uint64_t bits = UINT64_C(1) << slot % 64;

	for (; i < n && heap_span((uintptr_t)slots[i]) == s; i++) {
		slot = span_slot(s, (uintptr_t)slots[i]);
		if (slot / 64 != word || bits & UINT64_C(1) << slot % 64)
			break;
		bits |= UINT64_C(1) << slot % 64;
	}
	if (unlikely(!span_put_remote(s, word, bits)))
		*twice = slots[0];
	notify(s);
	return i;
}

/* How many slots at the front are neighbours in one span, rising or falling by slot_bytes. What
 * is freed in the order it was allocated, or the reverse, comes in such runs, and comparing
 * addresses is a branch that is predicted in every order of frees: comparing spans is not. */
static unsigned neighbours(const struct span *s, void **slots, unsigned n)
{
	ptrdiff_t step = (char *)slots[1] - (char *)slots[0];
	unsigned i = 1;

	if (likely(step != (ptrdiff_t)s->slot_bytes && -step != (ptrdiff_t)s->slot_bytes))
		return 1;
	while (i < n && (char *)slots[i] - (char *)slots[i - 1] == step)
		i++;
	return i;
}

/* Frees up to `n` neighbours of a span of the set; how many. Fewer where the span ends. */
static unsigned put_neighbours(struct span *s, void **slots, unsigned n, void **twice)
{
	unsigned first = span_slot(s, (uintptr_t)slots[0]);
	bool is_rising = slots[1] > slots[0];

	if (is_rising && n > s->nslots - first)
		n = s->nslots - first;
	if (!is_rising && n > first + 1)
		n = first + 1;
	if (unlikely(!span_put_range(s, is_rising ? first : first + 1 - n, n)))
		*twice = slots[0];
	return n;
}

void spanset_put(struct spanset *set, void **slots, unsigned n)
{
	set->nuses++;
	for (unsigned i = 0; i < n;) {
		uintptr_t p = (uintptr_t)slots[i];
		struct span *s = heap_span(p);
		unsigned nput = i + 1 < n ? neighbours(s, slots + i, n - i) : 1;

		/* relaxed: if it is this set, only the holder of our lock can change that. */
		if (unlikely(atomic_load_explicit(&s->owner, memory_order_relaxed) != set)) {
			i += put_run(s, slots + i, n - i, &set->twice);
			continue;
		}
		if (nput > 1)
			nput = put_neighbours(s, slots + i, nput, &set->twice);
		else if (unlikely(!span_put(s, span_slot(s, p))))
			set->twice = slots[i];
		if (unlikely(s->place == SPAN_FULL || s->nfree == s->nslots))
			settle(set, s);
		i += nput;
	}
}

bool spanset_put_remote(void *slot)
{
	void *twice = NULL;

	put_run(heap_span((uintptr_t)slot), &slot, 1, &twice);
	return !twice;
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

static void give_free(struct spanset *set, unsigned c)
{
	struct span *s = set->current[c];

	if (s && s->nfree == s->nslots) {
		set->current[c] = NULL;
		give_span(set, s);
	}
	while ((s = take_vacant(set, c)))
		give_span(set, s);
}

size_t spanset_tidy(struct spanset *set, bool with_trim)
{
	size_t nbytes = 0;

	spanset_harvest(set);
	for (unsigned c = 1; c < SIZECLASS_LARGE; c++) {
		give_free(set, c);
		for (struct span *s = set->partial[c]; s && with_trim; s = s->next)
			nbytes += scavenge_span(s);
		if (set->current[c] && with_trim)
			nbytes += scavenge_span(set->current[c]);
	}
	heap_return_cache(&set->pages);
	return nbytes;
}

void spanset_verify(const struct spanset *set)
{
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
		}
	}
}
