/* magazine.c: refilling and emptying magazines.
 *
 * Reached from cache.c (a magazine is empty or full; a thread ends), scavenge.c (idle threads'
 * depots), stats.c and verify.c. Depends on depot.c and spanset.c.
 *
 * Magazine sizes: a class begins with 8 slots and doubles at each refill from the spans up to the
 * table's capacity, 127 or 16 KiB (127 was 5 to 7 % faster than 63 on 10,000 blocks of mixed sizes,
 * 255 no more; 31 was 10 % slower). A full magazine goes into the thread's depot. Where that takes
 * none, the older half, 64 slots, goes to the spans, and a refill from there takes one less: with
 * equal numbers a batch of, say, 50 could go on for ever refilling and flushing in every round.
 * Giving each slot back to its span directly when the magazine is full was tried: 1.7 times slower
 * on batches of 1000. When DEPOT_CLASS_BYTES of a class went to the spans without a refill, the
 * thread gives up memory: its magazine gives back everything whenever it is full, and takes 12
 * slots or 16 KiB, or a 16th of what is still out, so that a thread that freed all in random order
 * and goes idle pins few os pages (8 threads with 29 MB each: 28 % stayed resident without this, 8 %
 * do with it). With 12 whatever is out a million blocks freed at random took 86 ns each instead of
 * 81.
 *
 * Magazines are rearranged under the cache's lock, so that whoever gets the lock in the child of a
 * fork finds them whole.
 *
 * Invariants:
 *   C1  a slot in a magazine has no block's granule and is not free in its span;
 *   C2  index 127 - cap of each magazine's block is NULL, and top is not below it; a class that was
 *       never used has cap 0, no block and the dummy's top;
 *   C3  a class has magazines in the depot only while its cap is the table's.
 */
#include "core/magazine.h"

#include "core/heap.h"
#include "core/helper.h"
#include "core/marks.h"

#include <string.h>

#define LAST (MAGAZINE_SLOTS - 1)
#define CAP_FIRST 8
#define SHRUNK_SLOTS 12
#define SHRUNK_BYTES KIB(16)
#define SHRUNK_PART 16
#define REFILL_SLOTS 63

static unsigned first_cap(unsigned c)
{
	unsigned cap = heap.classes->class[c].mag_cap;

	return cap < CAP_FIRST ? cap : CAP_FIRST;
}

/* The block of the magazine in use. */
static void **block_of(const struct cache *k, unsigned c)
{
	return (void **)((uintptr_t)k->mags.top[c] & ~(MAGAZINE_BYTES - 1));
}

/* The magazine in use is the one in `block`: it holds n slots and takes `cap`. */
static void set_magazine(struct cache *k, unsigned c, void **block, unsigned cap, unsigned n)
{
	block[LAST - cap] = NULL;
	k->cap[c] = (uint8_t)cap;
	k->mags.top[c] = &block[LAST - cap + n];
}

/* The first slot of class c, in or out. */
static bool open_magazine(struct cache *k, class_idx c)
{
	void **block = depot_block(&k->depot);

	if (block)
		set_magazine(k, c, block, first_cap(c), 0);
	return block;
}

/* Slots that stay at hand when a full magazine goes into the depot: otherwise a thread that frees
 * two and allocates two would exchange magazines each time. */
static unsigned kept_slots(unsigned cap)
{
	return cap / 8 + 1;
}

/* Slots in a magazine of class c that lies in the depot: from slots_in_depot() on. */
static unsigned depot_nslots(class_idx c)
{
	unsigned cap = heap.classes->class[c].mag_cap;

	return cap ? cap - kept_slots(cap) : 0;
}

static void **slots_in_depot(void **full, class_idx c)
{
	return &full[LAST - heap.classes->class[c].mag_cap + 1];
}

size_t magazine_depot_nbytes(class_idx c)
{
	return depot_nslots(c) * (size_t)heap.classes->class[c].slot_bytes;
}

/* A full magazine from the depot in exchange for the empty one. */
static bool refill_from_depot(struct cache *k, class_idx c)
{
	void **full = depot_take(&k->depot, c, magazine_depot_nbytes(c));
	unsigned cap = k->cap[c];

	if (!full)
		return false;
	depot_drop(&k->depot, block_of(k, c));
	dcheck(cap == heap.classes->class[c].mag_cap);                          /* C3 */
	set_magazine(k, c, full, cap, depot_nslots(c));
	k->spans.nuses++;
	return true;
}

static bool refill_from_spans(struct cache *k, class_idx c)
{
	unsigned max = heap.classes->class[c].mag_cap;
	unsigned cap = k->cap[c] * 2u < max ? k->cap[c] * 2u : max;
	unsigned want = cap < REFILL_SLOTS ? cap : REFILL_SLOTS;
	void **block = block_of(k, c), **lowest = &block[LAST - cap + 1];
	unsigned n = spanset_take(&k->spans, c, lowest + want - 1, want);

	if (k->nbytes_freed[c])
		depot_learn(&k->depot, c, k->nbytes_freed[c], magazine_depot_nbytes(c));
	k->nbytes_freed[c] = 0;
	k->nout[c] += n < UINT32_MAX - k->nout[c] ? n : 0;
	if (!n)
		return false;
	if (n < want)
		memmove(lowest, lowest + want - n, n * sizeof *lowest);
	marks_foresee(lowest, n);
	set_magazine(k, c, block, cap, n);
	return true;
}

void *magazine_refill(struct cache *k, class_idx c)
{
	void *p = NULL;

	biased_enter(&k->lock);
	if (unlikely(!k->cap[c]) && !open_magazine(k, c))
		spanset_take(&k->spans, c, &p, 1);      /* no memory for a magazine: without one */
	else if (refill_from_depot(k, c) || refill_from_spans(k, c))
		p = *k->mags.top[c]--;
	biased_leave(&k->lock);
	return p;
}

static unsigned count_slots(const struct cache *k, class_idx c)
{
	return (unsigned)(k->mags.top[c] - &block_of(k, c)[LAST - k->cap[c]]);
}

/* Does the thread only free slots of this class, and more than its depot would learn to keep? */
static bool is_giving_up(struct cache *k, class_idx c, unsigned nslots)
{
	if (k->nbytes_freed[c] <= DEPOT_CLASS_BYTES)
		k->nbytes_freed[c] += nslots * heap.classes->class[c].slot_bytes;
	return k->nbytes_freed[c] >= DEPOT_CLASS_BYTES;
}

/* What the magazine of a class takes whose slots the thread gives up: little, but the more slots are
 * out, the more. */
static unsigned shrunk_cap(const struct cache *k, class_idx c)
{
	const struct sizeclass *geometry = &heap.classes->class[c];
	unsigned fit = (unsigned)(SHRUNK_BYTES / geometry->slot_bytes);

	fit = fit < SHRUNK_SLOTS ? fit : SHRUNK_SLOTS;
	if (k->nout[c] / SHRUNK_PART > fit)
		fit = k->nout[c] / SHRUNK_PART;
	return fit < 2 ? 2 : fit < geometry->mag_cap ? fit : geometry->mag_cap;
}

static void put(struct cache *k, class_idx c, void **slots, unsigned n)
{
	spanset_put(&k->spans, c, slots, n);
	k->nout[c] -= n < k->nout[c] ? n : k->nout[c];
}

static void empty_depot(struct cache *k, class_idx c)
{
	void **full;

	while ((full = depot_take(&k->depot, c, magazine_depot_nbytes(c)))) {
		put(k, c, slots_in_depot(full, c), depot_nslots(c));
		depot_drop(&k->depot, full);
	}
}

void magazine_empty_depot(struct cache *k)
{
	for (unsigned c = 1; c < SIZECLASS_LARGE; c++)
		empty_depot(k, (class_idx)c);
}

/* The full magazine goes into the depot, but for its newest slots. */
static bool flush_to_depot(struct cache *k, class_idx c)
{
	unsigned cap = k->cap[c], nkept = kept_slots(cap);
	void **full = block_of(k, c);

	if (cap < heap.classes->class[c].mag_cap)
		return false;

	void **empty = depot_put(&k->depot, c, full, magazine_depot_nbytes(c));

	if (!empty)
		return false;
	memcpy(&empty[LAST - cap + 1], &full[LAST - nkept + 1], nkept * sizeof *full);
	set_magazine(k, c, empty, cap, nkept);
	k->spans.nuses++;
	return true;
}

/* The older half of the full magazine goes into the spans. If the thread gives up memory,
 * everything does. */
static void flush_to_spans(struct cache *k, class_idx c)
{
	unsigned n = count_slots(k, c), nput = (n + 1) / 2;
	void **block = block_of(k, c), **oldest = &block[MAGAZINE_SLOTS - n];

	if (unlikely(is_giving_up(k, c, nput))) {
		put(k, c, oldest, n);
		empty_depot(k, c);
		set_magazine(k, c, block, shrunk_cap(k, c), 0);
	} else {
		put(k, c, oldest, nput);
		memmove(oldest, oldest + nput, (n - nput) * sizeof *oldest);
		k->mags.top[c] -= nput;
	}
}

bool magazine_make_room(struct cache *k, class_idx c, void *p)
{
	bool has_room = true;

	biased_enter(&k->lock);
	if (!k->cap[c])
		has_room = open_magazine(k, c);
	else if (!flush_to_depot(k, c))
		flush_to_spans(k, c);
	if (!has_room)
		put(k, c, &p, 1);
	biased_leave(&k->lock);
	/* Its owner may be idle for good: who will give it back? */
	if (unlikely(k->spans.nbytes_strange >= HELPER_BYTES)) {
		k->spans.nbytes_strange = 0;
		helper_expect(HELPER_BYTES);
	}
	return has_room;
}

static void empty(struct cache *k, unsigned c)
{
	void **block = block_of(k, c), **bottom = &block[LAST - k->cap[c]];

	empty_depot(k, (class_idx)c);
	if (k->mags.top[c] > bottom)
		put(k, (class_idx)c, bottom + 1, (unsigned)(k->mags.top[c] - bottom));
	if (k->mags.top[c] > bottom || k->cap[c] != first_cap(c))
		set_magazine(k, c, block, first_cap(c), 0);
}

void magazine_empty_all(struct cache *k)
{
	for (unsigned c = 1; c < SIZECLASS_LARGE; c++) {
		if (k->cap[c])
			empty(k, c);
	}
}

void magazine_visit_slots(const struct cache *k, class_idx c,
                          void (*fn)(void **slots, size_t n, void *arg), void *arg)
{
	void **bottom = &block_of(k, c)[LAST - k->cap[c]];

	if (!k->cap[c])
		return;
	check(!*bottom && k->mags.top[c] >= bottom);                            /* C2 */
	fn(bottom + 1, (size_t)(k->mags.top[c] - bottom), arg);
	for (void **full = k->depot.class[c].full; full; full = (void **)full[0])
		fn(slots_in_depot(full, c), depot_nslots(c), arg);
}

/* Another thread may be pushing and popping: whatever it reads is bounded. */
__attribute__((no_sanitize("thread")))
size_t magazine_count_slots(const struct cache *k, class_idx c)
{
	uintptr_t top = (uintptr_t)k->mags.top[c];
	ptrdiff_t n = (ptrdiff_t)(top % MAGAZINE_BYTES / sizeof(void *)) - (LAST - k->cap[c]);

	if (!k->cap[c])
		return 0;
	return (n > 0 ? (size_t)n : 0) + k->depot.class[c].nfull * (size_t)depot_nslots(c);
}
