/* spanset_put.c: slots on their way back, from the set's owner and from strangers.
 *
 * Reached from cache.c, central.c and sweep.c (a stranger). Depends on span.c, heap.c, budget.c and, where
 * a span becomes wholly free, on spanset.c. The owner's lock is held throughout, except in
 * spanset_put_remote() and its relative, which take none.
 *
 * Remote frees, the rules that make them safe without a lock:
 *     a stranger sets bits in freed_remote, then has_news; if that was false, it pushes the span
 *     on the news of the owner it then sees. Between the two the owner may harvest the bits, find
 *     the span free and give it away, and the record may serve another span by then: the record
 *     is type-stable, a span in the wrong list is passed on to its owner by who finds it, and a
 *     span without owner is dropped from the list unless bits wait (then it has an owner again).
 */
#include "core/spanset.h"

#include "core/budget.h"
#include "core/spanset_lists.h"

static void note_twice(struct spanset *set, void *slot)
{
	/* relaxed: to be reported by whoever sees it. */
	if (unlikely(slot != NULL))
		atomic_store_explicit(&set->twice, slot, memory_order_relaxed);
}

/* Slots of `s` became free: is it in the right list still? */
static SLOW void settle(struct spanset *set, struct span *s)
{
	if (s->place == SPAN_FULL && s->nfree)
		spanset_list_add(set, s);
	if (s->nfree < s->nslots || s->place != SPAN_PARTIAL)
		return;
	spanset_list_remove(set, s);
	spanset_keep(set, s);
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
		struct spanset *owner = spanset_owner(s);

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
	if (spanset_owner(s) != set) {
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
	set->is_tidy = false;
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
	spanset_set_loose(set, set->nbytes_loose + n * (size_t)slot_bytes);
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
