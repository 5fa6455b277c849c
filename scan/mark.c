/* mark.c: see mark.h.
 *
 * Reached from the leak finder and the collector while the world is stopped. Reads the heap's
 * tables: heap.h, span.h, sizeclass.h. Takes no lock.
 *
 * What happens to a word:
 *     read in a range             does it look like an address of the heap? Then its granule and its
 *                                 mark bit are prefetched, and it waits in `seen`
 *     oldest of `seen`            which block is it? Mark it, and note its range as work
 *     top of the work             its first lines are prefetched, and it waits in `next`
 *     oldest of `next`            is read
 * The start of a block is known by its granule alone; only other addresses need the span.
 *
 * A large block that realloc is moving has no granule for the moment: its span says that it is
 * there, and so it is marked and read all the same.
 *
 * Invariants:
 *   M1  a marked block was read or is in work, `next` or, if there was no memory for it, found again
 *       by reread() (tests/unit/scan_mark.c);
 *   M2  `seen`, `next` and the work are empty when mark_drain() returns.
 */
#include "scan/mark.h"

#include "core/heap.h"
#include "core/os.h"
#include "core/sizeclass.h"
#include "core/span.h"
#include "scan/work.h"

#include <string.h>

#define NSEEN 16
#define NNEXT 8
#define OBLET_BYTES KIB(128)
#define ADDRESS_BITS 48                         /* what is above may be a tag */

struct worker {
	uintptr_t seen[NSEEN];
	struct work_item next[NNEXT];
	unsigned nseen, nnext;                  /* ever put in; those in rings are the last */
	unsigned nseen_out, nnext_out;
	struct work work;
	struct mark_counts counts;
	bool has_overflown;                     /* a marked block was not noted as work */
};

static struct {
	/* Constant from mark_start() to mark_end(). */
	_Atomic uint64_t *bits;
	uintptr_t base;
	size_t nbytes;                          /* of the heap */
	size_t bits_mapped;
	unsigned shift;                         /* of a granule */
	size_t (*measure)(uintptr_t block, size_t slot_bytes);
	void (*again)(uintptr_t block, void *arg);
	void *again_arg;
} mark;

static unsigned scan_align = sizeof(uintptr_t);
static size_t work_blocks = WORK_UNLIMITED;
static struct worker worker;

void mark_set_align(unsigned nbytes)
{
	scan_align = nbytes;
}

void mark_limit_work(size_t nblocks)
{
	work_blocks = nblocks;
}

static size_t granule_of(uintptr_t p)
{
	return (p - mark.base) >> mark.shift;
}

bool mark_start(void)
{
	/* relaxed: the world is stopped. */
	size_t nbytes = atomic_load_explicit(&heap.nbytes, memory_order_relaxed);
	size_t wanted = align_up((nbytes >> heap.granule_shift) / 8 + sizeof *mark.bits, OS_PAGE_BYTES);

	if (wanted > mark.bits_mapped) {
		void *bits = os_map(align_up(wanted, MIB(1)));

		if (!bits)
			return false;
		mark.bits = bits;
		mark.bits_mapped = align_up(wanted, MIB(1));
		os_name((uintptr_t)bits, mark.bits_mapped, "spangc marks");
	}
	mark.base = heap.base;
	mark.nbytes = nbytes;
	mark.shift = heap.granule_shift;
	mark.measure = NULL;
	mark.again = NULL;
	worker.nseen = worker.nnext = worker.nseen_out = worker.nnext_out = 0;
	worker.counts = (struct mark_counts){ 0 };
	worker.has_overflown = false;
	work_clear(&worker.work);
	return work_init(&worker.work, work_blocks);
}

void mark_end(void)
{
	if (mark.bits)
		os_discard((uintptr_t)mark.bits, mark.bits_mapped);
	work_clear(&worker.work);
	memset(worker.seen, 0, sizeof worker.seen);
	memset(worker.next, 0, sizeof worker.next);
	mark.nbytes = 0;
}

void mark_measure_with(size_t (*nbytes)(uintptr_t block, size_t slot_bytes))
{
	mark.measure = nbytes;
}

void mark_tell_again(void (*fn)(uintptr_t block, void *arg), void *arg)
{
	mark.again = fn;
	mark.again_arg = arg;
}

struct mark_counts mark_counts(void)
{
	return worker.counts;
}

/* A block as far as marking needs it. */
struct found {
	uintptr_t start;
	size_t    nbytes;                       /* its slot */
	class_idx class;
};

static class_idx granule_at(uintptr_t p)
{
	/* relaxed: the world is stopped. */
	return atomic_load_explicit(heap_granule(p), memory_order_relaxed);
}

/* The record may be half-way to another span: what it says is held against the heap's bounds. */
static bool find_large(const struct span *s, struct found *f)
{
	uintptr_t limit = mark.base + mark.nbytes;
	size_t nbytes = (size_t)s->npages << PAGE_SHIFT;

	if (s->place != SPAN_LARGE || s->base < mark.base || s->base >= limit)
		return false;
	f->start = s->base;
	f->nbytes = nbytes < limit - s->base ? nbytes : limit - s->base;
	f->class = SIZECLASS_LARGE;
	return true;
}

/* The block that `p`, not the start of a small one, lies in. */
static SLOW bool find_inside(uintptr_t p, struct found *f)
{
	const struct span *s = heap_span_any(p);

	if (!s)
		return false;
	if (s->class == SIZECLASS_LARGE)
		return find_large(s, f);

	unsigned slot = span_slot(s, p);

	if (slot >= s->nslots)
		return false;
	f->start = (uintptr_t)span_slot_address(s, slot);
	f->nbytes = s->slot_bytes;
	f->class = granule_at(f->start);
	return f->class == s->class && f->class;
}

/* Precondition: `p` is in the heap. */
HOT bool find(uintptr_t p, struct found *f)
{
	uintptr_t below = p & (((uintptr_t)1 << mark.shift) - 1);

	f->class = granule_at(p);
	if (unlikely(!f->class || below || f->class == SIZECLASS_LARGE))
		return find_inside(p, f);
	f->start = p;
	f->nbytes = heap.classes->class[f->class].slot_bytes;
	return true;
}

uintptr_t mark_find(uintptr_t p)
{
	struct found f;

	return p - mark.base < mark.nbytes && find(p, &f) ? f.start : 0;
}

/* True: it was not set. */
HOT bool set_bit(uintptr_t start)
{
	size_t g = granule_of(start);
	uint64_t bit = UINT64_C(1) << (g % 64);

	/* relaxed, both: who sets the bit is alone in reading the block; nothing else is told by it. */
	return !(atomic_load_explicit(&mark.bits[g / 64], memory_order_relaxed) & bit)
	       && !(atomic_fetch_or_explicit(&mark.bits[g / 64], bit, memory_order_relaxed) & bit);
}

bool mark_is_marked(uintptr_t block)
{
	size_t g = granule_of(block);

	/* relaxed: as in set_bit(). */
	return atomic_load_explicit(&mark.bits[g / 64], memory_order_relaxed) >> (g % 64) & 1;
}

static SLOW void tell_again(uintptr_t block)
{
	mark.again(block, mark.again_arg);
}

HOT size_t bytes_to_read(const struct found *f)
{
	if (f->class != SIZECLASS_LARGE && sizeclass_is_noscan(f->class))
		return 0;
	if (unlikely(mark.measure)) {
		size_t n = mark.measure(f->start, f->nbytes);

		return n < f->nbytes ? n : f->nbytes;
	}
	return f->nbytes;
}

/* Large blocks are read in pieces, the first one first. */
HOT void note_work(struct worker *w, uintptr_t from, uintptr_t to)
{
	if (!work_push(&w->work, from, to))
		w->has_overflown = true;
}

HOT bool mark_found(struct worker *w, const struct found *f)
{
	if (!set_bit(f->start)) {
		if (unlikely(mark.again))
			tell_again(f->start);
		return false;
	}

	size_t nbytes = bytes_to_read(f);

	w->counts.nblocks++;
	if (nbytes >= sizeof(uintptr_t))
		note_work(w, f->start, f->start + nbytes);
	return true;
}

HOT void resolve_oldest(struct worker *w)
{
	uintptr_t p = w->seen[w->nseen_out++ % NSEEN];
	struct found f;

	if (find(p, &f))
		mark_found(w, &f);
}

HOT void see(struct worker *w, uintptr_t word)
{
	uintptr_t p = word & ((UINT64_C(1) << ADDRESS_BITS) - 1);

	if (likely(p - mark.base >= mark.nbytes))
		return;
	if (w->nseen - w->nseen_out == NSEEN)
		resolve_oldest(w);
	__builtin_prefetch((const void *)heap_granule(p));
	__builtin_prefetch((const void *)&mark.bits[granule_of(p) / 64], 1);
	w->seen[w->nseen++ % NSEEN] = p;
}

/* The program's memory, whatever it holds: a race by nature where it runs on. */
__attribute__((no_sanitize("address", "thread"))) static void read_words(struct worker *w,
                                                                        uintptr_t from, uintptr_t to)
{
	for (uintptr_t at = from; at < to; at += sizeof(uintptr_t))
		see(w, *(const uintptr_t *)at);
}

__attribute__((no_sanitize("address", "thread"))) static void read_unaligned(struct worker *w,
                                                                            uintptr_t from,
                                                                            uintptr_t to)
{
	for (uintptr_t at = from; at + sizeof(uintptr_t) <= to; at += scan_align) {
		uintptr_t word;

		__builtin_memcpy(&word, (const void *)at, sizeof word);
		see(w, word);
	}
}

static void read_range(struct worker *w, uintptr_t from, uintptr_t to)
{
	w->counts.nbytes += to - from;
	if (scan_align == sizeof(uintptr_t))
		read_words(w, align_up(from, sizeof from), align_down(to, sizeof to));
	else
		read_unaligned(w, align_up(from, scan_align), to);
}

/* The first piece; the rest is work again. A word may lie across the border. */
static SLOW void read_large(struct worker *w, uintptr_t from, uintptr_t to)
{
	uintptr_t border = from + OBLET_BYTES;

	note_work(w, border, to);
	read_range(w, from, scan_align < sizeof(uintptr_t) ? border + sizeof(uintptr_t) - 1 : border);
}

static void read_item(struct worker *w, const struct work_item *item)
{
	if (unlikely(item->to - item->from > OBLET_BYTES + sizeof(uintptr_t)))
		read_large(w, item->from, item->to);
	else
		read_range(w, item->from, item->to);
}

/* Until `next` is full or the work is done. */
HOT void fill_next(struct worker *w)
{
	struct work_item item;

	while (w->nnext - w->nnext_out < NNEXT && work_pop(&w->work, &item)) {
		__builtin_prefetch((const void *)item.from);
		__builtin_prefetch((const void *)(item.from + CACHE_LINE));
		w->next[w->nnext++ % NNEXT] = item;
	}
}

static void drain(struct worker *w)
{
	for (;;) {
		fill_next(w);
		if (w->nnext != w->nnext_out) {
			struct work_item item = w->next[w->nnext_out++ % NNEXT];

			read_item(w, &item);
		} else if (w->nseen != w->nseen_out) {
			resolve_oldest(w);
		} else {
			return;
		}
	}
}

/* There was no memory for some of the work: every marked block is read again. */
static COLD void reread(struct worker *w)
{
	size_t nwords = (mark.nbytes >> mark.shift) / 64;

	w->has_overflown = false;
	for (size_t i = 0; i < nwords; i++) {
		/* relaxed: as in set_bit(). Bits that come are noted as work. */
		uint64_t bits = atomic_load_explicit(&mark.bits[i], memory_order_relaxed);

		for (; bits; bits &= bits - 1) {
			uintptr_t at = mark.base + ((i * 64 + bit_first(bits)) << mark.shift);
			struct found f;

			if (find(at, &f))
				read_range(w, f.start, f.start + bytes_to_read(&f));
			drain(w);
		}
	}
}

void mark_drain(void)
{
	drain(&worker);
	while (worker.has_overflown)
		reread(&worker);
}

void mark_range(uintptr_t from, uintptr_t to)
{
	read_range(&worker, from, to);
}

void mark_word(uintptr_t word)
{
	see(&worker, word);
}

bool mark_block(uintptr_t block)
{
	struct found f;

	return find(block, &f) && mark_found(&worker, &f);
}
