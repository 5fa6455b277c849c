/* mark.c: see mark.h.
 *
 * Reached from the leak finder and the collector while the world is stopped. Reads the heap's
 * tables: heap.h, span.h, sizeclass.h. Takes no lock. Workers besides the caller are threads of
 * workers.h: they touch no thread-local, and no call of libc's that sets errno.
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
 *   M2  `seen`, `next` and the work of all workers are empty when mark_drain() returns;
 *   M3  who sets a block's bit is alone in noting it as work (tests/race/mark.c).
 */
#include "scan/mark.h"

#include "core/heap.h"
#include "core/marks.h"
#include "core/os.h"
#include "core/sizeclass.h"
#include "core/span.h"
#include "scan/work.h"
#include "scan/workers.h"

#include <string.h>

#define NSEEN 16
#define NNEXT 8
#define OBLET_BYTES MARK_NOW_BYTES
#define WORD sizeof(uintptr_t)
#define WORK_SHARE 4                            /* of the heap's bytes for work: a fourth */

_Static_assert(OBLET_BYTES / WORD + 1 <= WORK_WORDS_MAX, "");

struct worker {
	_Alignas(CACHE_LINE) uintptr_t seen[NSEEN];
	work_item next[NNEXT];
	unsigned nseen, nnext;                  /* ever put in; those in rings are the last */
	unsigned nseen_out, nnext_out;
	struct work work;
	struct mark_counts counts;
	bool has_overflown;                     /* a marked block was not noted as work */
};

static struct {
	/* Constant from mark_start() to mark_end(). */
	_Atomic uint64_t *bits;
	_Atomic uint8_t *granules;
	uintptr_t base;
	size_t nbytes;                          /* of the heap */
	size_t bits_mapped;
	unsigned shift;                         /* of a granule */
	unsigned nworkers;                      /* at most */
	unsigned align;
	bool keeps_bits;                        /* they are not ours to clear */
	size_t (*measure)(uintptr_t block, size_t slot_bytes);
	bool (*is_inside)(uintptr_t block, size_t offset);
} mark;

/* The bits of a collection, while others are made to be held against them. */
static _Atomic uint64_t *proven;

static unsigned scan_align = WORD, max_workers = 1;
static size_t work_bytes = SIZE_MAX;
static struct work_pool pool;
static struct worker workers[WORKERS_MAX];

void mark_set_align(unsigned nbytes)
{
	scan_align = nbytes;
}

void mark_set_workers(unsigned n)
{
	max_workers = n < WORKERS_MAX ? n : WORKERS_MAX;
}

void mark_limit_work(size_t nbytes)
{
	work_bytes = nbytes;
}

/* Its number among the granules of the heap; as many bits are there. */
static size_t granule_of(uintptr_t p)
{
	return (p - mark.base) >> mark.shift;
}

static bool map_bits(size_t nbytes)
{
	size_t wanted = align_up((nbytes >> mark.shift) / 8 + sizeof *mark.bits, MIB(1));
	void *bits = wanted > mark.bits_mapped ? os_map(wanted) : mark.bits;

	if (!bits || bits == mark.bits)
		return bits;
	mark.bits = bits;
	mark.bits_mapped = wanted;
	os_name((uintptr_t)bits, wanted, "spangc marks");
	return true;
}

static bool start(void)
{
	/* acquire: pairs with the release in heap.c, so that tables cover it. */
	size_t nbytes = atomic_load_explicit(&heap.nbytes, memory_order_acquire);
	size_t most = nbytes / WORK_SHARE;

	mark.base = heap.base;
	mark.granules = heap.granules;
	mark.nbytes = nbytes;
	mark.shift = heap.granule_shift;
	mark.align = scan_align;
	mark.nworkers = max_workers;
	mark.measure = NULL;
	mark.is_inside = NULL;
	memset(workers, 0, sizeof workers);
	return work_start(&pool, most < work_bytes ? most : work_bytes)
	       && work_join(&workers[0].work, &pool);
}

bool mark_start(void)
{
	mark.keeps_bits = false;
	return start() && map_bits(mark.nbytes);
}

bool mark_start_full(void)
{
	marks_clear(atomic_load_explicit(&heap.nbytes, memory_order_acquire));
	return mark_start_sticky();
}

bool mark_start_sticky(void)
{
	mark.keeps_bits = true;
	mark.bits = marks.bits;
	return start();
}

void mark_extend(void)
{
	/* acquire: as in start(). */
	mark.nbytes = atomic_load_explicit(&heap.nbytes, memory_order_acquire);
}

void mark_end(void)
{
	if (mark.bits && !mark.keeps_bits)
		os_discard((uintptr_t)mark.bits, mark.bits_mapped);
	work_end(&pool);
	workers_drop();
	memset(workers, 0, sizeof workers);
	mark.nbytes = 0;
}

void mark_measure_with(size_t (*nbytes)(uintptr_t block, size_t slot_bytes))
{
	mark.measure = nbytes;
}

void mark_decide_with(bool (*is_inside)(uintptr_t block, size_t offset))
{
	mark.is_inside = is_inside;
}

struct mark_counts mark_counts(void)
{
	struct mark_counts sum = { 0 };

	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		sum.nblocks += workers[i].counts.nblocks;
		sum.nslot_bytes += workers[i].counts.nslot_bytes;
		sum.nbytes += workers[i].counts.nbytes;
	}
	return sum;
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
	return atomic_load_explicit(&mark.granules[granule_of(p)], memory_order_relaxed);
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
	if (f->class != s->class || !f->class)
		return false;
	return !mark.is_inside || mark.is_inside(f->start, p - f->start);
}

/* Precondition: `p` is in the heap. */
HOT bool find(uintptr_t p, struct found *f)
{
	f->class = granule_at(p);
	if (unlikely(!f->class || f->class == SIZECLASS_LARGE))
		return find_inside(p, f);
	f->start = align_down(p, (size_t)1 << mark.shift);
	f->nbytes = heap.classes->class[f->class].slot_bytes;
	return true;
}

uintptr_t mark_find(uintptr_t p)
{
	struct found f;

	return p - mark.base < mark.nbytes && find(p, &f) ? f.start : 0;
}

HOT bool is_set(size_t granule)
{
	/* relaxed: who sets the bit is alone in reading the block; nothing else is told by it. */
	return atomic_load_explicit(&mark.bits[granule / 64], memory_order_relaxed)
	       >> (granule % 64) & 1;
}

/* True: it was not set. The write waits for the line, and other workers for us: only if it must. */
HOT bool set_bit(uintptr_t start)
{
	size_t g = granule_of(start);
	uint64_t bit = UINT64_C(1) << (g % 64);

	/* relaxed: as in is_set(). */
	return !is_set(g)
	       && !(atomic_fetch_or_explicit(&mark.bits[g / 64], bit, memory_order_relaxed) & bit);
}

bool mark_is_marked(uintptr_t block)
{
	return block - mark.base >= mark.nbytes || is_set(granule_of(block));
}

HOT size_t bytes_to_read(const struct found *f)
{
	if (f->class != SIZECLASS_LARGE && sizeclass_is_noscan(f->class))
		return 0;
	if (mark.measure) {
		size_t n = mark.measure(f->start, f->nbytes);

		return n < f->nbytes ? n : f->nbytes;
	}
	return f->nbytes;
}

HOT void note_work(struct worker *w, uintptr_t from, size_t nbytes)
{
	if (unlikely(!work_push(&w->work, work_item_of(from, nbytes / WORD))))
		w->has_overflown = true;
}

/* All pieces but the last, whose beginning it tells. A word may lie across the border. */
static SLOW uintptr_t note_pieces(struct worker *w, uintptr_t from, uintptr_t to)
{
	size_t nbytes = OBLET_BYTES + (mark.align < WORD ? WORD : 0);

	for (; to - from > OBLET_BYTES; from += OBLET_BYTES)
		note_work(w, from, to - from < nbytes ? to - from : nbytes);
	return from;
}

HOT bool mark_found(struct worker *w, const struct found *f)
{
	if (!set_bit(f->start))
		return false;

	uintptr_t from = f->start, to = from + bytes_to_read(f);

	w->counts.nblocks++;
	w->counts.nslot_bytes += f->nbytes;
	if (unlikely(to - from > OBLET_BYTES))
		from = note_pieces(w, from, to);
	if (to - from >= WORD)
		note_work(w, from, to - from);
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
	uintptr_t p = work_from(word);          /* what is above 48 bits may be a tag */
	size_t g = granule_of(p);

	if (likely(p - mark.base >= mark.nbytes))
		return;
	if (w->nseen - w->nseen_out == NSEEN)
		resolve_oldest(w);
	__builtin_prefetch((const void *)&mark.granules[g]);
	__builtin_prefetch((const void *)&mark.bits[g / 64], 1);
	w->seen[w->nseen++ % NSEEN] = p;
}

/* The program's memory, whatever it holds: a race by nature where it runs on. */
__attribute__((no_sanitize("address", "thread"))) static inline uintptr_t word_at(uintptr_t at)
{
	uintptr_t word;

	__builtin_memcpy(&word, (const void *)at, sizeof word);
	return word;
}

static void read_words(struct worker *w, uintptr_t from, uintptr_t to)
{
	for (uintptr_t at = from; at < to; at += WORD)
		see(w, word_at(at));
}

static void read_unaligned(struct worker *w, uintptr_t from, uintptr_t to)
{
	for (uintptr_t at = from; at + WORD <= to; at += mark.align)
		see(w, word_at(at));
}

static void read_range(struct worker *w, uintptr_t from, uintptr_t to)
{
	w->counts.nbytes += to - from;
	if (likely(mark.align == WORD))
		read_words(w, align_up(from, WORD), align_down(to, WORD));
	else
		read_unaligned(w, align_up(from, mark.align), to);
}

void mark_visit_words(uintptr_t from, uintptr_t to,
                      bool (*fn)(uintptr_t at, uintptr_t block, void *arg), void *arg)
{
	for (uintptr_t at = align_up(from, mark.align); at + WORD <= to; at += mark.align) {
		uintptr_t block = mark_find(work_from(word_at(at)));

		if (block && !fn(at, block, arg))
			return;
	}
}

size_t mark_bytes(uintptr_t block)
{
	struct found f;

	return find(block, &f) ? bytes_to_read(&f) : 0;
}

/* Until `next` is full or the work is done. */
HOT void fill_next(struct worker *w)
{
	work_item item;

	while (w->nnext - w->nnext_out < NNEXT && work_pop(&w->work, &item)) {
		uintptr_t from = work_from(item);

		__builtin_prefetch((const void *)from);
		if (work_nwords(item) > CACHE_LINE / WORD)
			__builtin_prefetch((const void *)(from + CACHE_LINE));
		w->next[w->nnext++ % NNEXT] = item;
	}
}

/* Until nothing is left but what other workers have, or `limit` bytes were read: then true. */
static bool drain(struct worker *w, uint64_t limit)
{
	while (w->counts.nbytes < limit) {
		fill_next(w);
		if (w->nnext != w->nnext_out) {
			work_item item = w->next[w->nnext_out++ % NNEXT];
			uintptr_t from = work_from(item);

			read_range(w, from, from + work_nwords(item) * WORD);
			work_share(&w->work);
		} else if (w->nseen != w->nseen_out) {
			resolve_oldest(w);
		} else {
			return false;
		}
	}
	return true;
}

/* --- together --- */

static void drain_together(struct worker *w)
{
	do
		drain(w, UINT64_MAX);
	while (work_wait(&w->work));
}

/* ctx: a thread of workers.h */
static void help(unsigned number)
{
	drain_together(&workers[number]);
}

/* Fewer than wanted if the kernel refuses them. */
static void start_helpers(void)
{
	for (unsigned i = 1; i < mark.nworkers; i++) {
		struct worker *w = &workers[i];

		if (!w->work.pool && !work_join(&w->work, &pool))
			return;
		work_expect(&pool);
		if (!workers_start(i, help)) {
			work_unexpect(&pool);
			return;
		}
	}
}

/* There was no memory for some of the work: every marked block is read again. */
static COLD void reread(struct worker *w)
{
	size_t nwords = (mark.nbytes >> mark.shift) / 64;

	for (size_t i = 0; i < nwords; i++) {
		/* relaxed: as in is_set(). Bits that come are noted as work. */
		uint64_t bits = atomic_load_explicit(&mark.bits[i], memory_order_relaxed);

		for (; bits; bits &= bits - 1) {
			uintptr_t at = mark.base + ((i * 64 + bit_first(bits)) << mark.shift);
			struct found f;

			if (find(at, &f))
				read_range(w, f.start, f.start + bytes_to_read(&f));
			drain(w, UINT64_MAX);
		}
	}
}

static bool has_overflown(void)
{
	bool has = false;

	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		has |= workers[i].has_overflown;
		workers[i].has_overflown = false;
	}
	return has;
}

void mark_drain(void)
{
	struct worker *w = &workers[0];

	if (mark.nworkers == 1) {
		drain(w, UINT64_MAX);
	} else if (drain(w, w->counts.nbytes + MARK_ALONE_BYTES)) {
		work_begin(&pool);
		start_helpers();
		drain_together(w);
		workers_wait();
	}
	while (has_overflown())
		reread(w);
}

/* A range that is shared out begins and ends at words; what is left of it is read here. */
void mark_range(uintptr_t from, uintptr_t to)
{
	if (to - from > OBLET_BYTES)
		from = note_pieces(&workers[0], mark.align < WORD ? from : align_up(from, WORD), to);
	read_range(&workers[0], from, to);
}

void mark_word(uintptr_t word)
{
	see(&workers[0], word);
}

bool mark_block(uintptr_t block)
{
	struct found f;

	return block - mark.base < mark.nbytes && find(block, &f) && mark_found(&workers[0], &f);
}

void mark_threads_range(uintptr_t from, uintptr_t to)
{
	for (uintptr_t at = align_up(from, mark.align); at + WORD <= to; at += mark.align) {
		uintptr_t p = work_from(word_at(at));
		struct found f;

		if (p - mark.base >= mark.nbytes)
			continue;
		if (find(p, &f))
			mark_found(&workers[0], &f);
		else
			set_bit(p);
	}
}

/* Every granule of the page, and the block that goes on from before. */
void mark_dirty(uintptr_t from, uintptr_t to)
{
	struct worker *w = &workers[0];

	for (uintptr_t p = from; p < to && p - mark.base < mark.nbytes;) {
		struct found f;
		uintptr_t next = p + ((size_t)1 << mark.shift);

		if (find(p, &f) && is_set(granule_of(f.start))) {
			uintptr_t end = f.start + bytes_to_read(&f);

			next = f.start + f.nbytes;
			read_range(w, f.start > from ? f.start : from, end < to ? end : to);
		}
		p = next;
	}
}

uint64_t mark_assist(size_t nbytes)
{
	(void)nbytes;
	return 0;
}

bool mark_verify_begin(void)
{
	proven = mark.bits;
	mark.bits = NULL;
	mark.bits_mapped = 0;
	return map_bits(mark.nbytes);
}

void mark_verify_end(void (*fn)(uintptr_t block, void *arg), void *arg)
{
	size_t nwords = (mark.nbytes >> mark.shift) / 64;
	_Atomic uint64_t *second = mark.bits;

	for (size_t i = 0; i < nwords; i++) {
		/* relaxed: the world is stopped. */
		uint64_t bits = atomic_load_explicit(&second[i], memory_order_relaxed)
		                & ~atomic_load_explicit(&proven[i], memory_order_relaxed);

		for (; bits; bits &= bits - 1)
			fn(mark.base + ((i * 64 + bit_first(bits)) << mark.shift), arg);
	}
	os_unmap((uintptr_t)second, mark.bits_mapped);
	mark.bits = proven;
	mark.bits_mapped = 0;
}
