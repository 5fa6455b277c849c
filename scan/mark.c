/* mark.c: marks, and questions to them: see mark.h.
 *
 * Reached from the leak finder, which stops the world or has a copy of the process, and from the
 * collector. mark_drain.c reads blocks, mark_dirty.c what was written meanwhile. Reads the heap's
 * tables: heap.h, span.h, sizeclass.h. Takes no lock.
 *
 * While the program runs, spans' records may be half-way to other spans. A block's start is taken from
 * one only if the granule there agrees; then it was a block at that moment. If it is freed at once, its
 * memory still can be read, and its mark stays behind on a free slot: until the next full collection, or
 * mark_start_sticky(), which clears marks where no block is.
 *
 * A large block that realloc is moving has no granule for the moment (never in a collection): its span
 * says that it is there, and so it is marked and read all the same.
 */
#include "scan/marker.h"

#include "core/marks.h"
#include "core/os.h"
#include "scan/own.h"
#include "scan/roots.h"

#include <sched.h>
#include <string.h>

#define WORK_SHARE 4                            /* of the heap's bytes for work: a fourth */
#define LIMIT_SHARE 64                          /* the same, of the limit on memory */
#define COPY_BYTES (OBLET_BYTES + OS_PAGE_BYTES)
#define STOPPED_SPINS 20000                     /* 1 ms: nothing else is there to run */

struct marker marker;

static unsigned scan_align = WORD, max_workers = 1;
static size_t work_bytes = SIZE_MAX;

/* Bits of our own: of one marking, or for mark_verify_begin(). */
static _Atomic uint64_t *own_bits;
static size_t own_bits_bytes;

static char *copies;
static _Atomic bool is_protected;               /* see mark_expect_protection() */

void mark_set_align(unsigned nbytes)
{
	scan_align = nbytes;
}

void mark_set_workers(unsigned n)
{
	max_workers = n < WORKERS_MAX ? n : WORKERS_MAX;
	marker.nworkers = max_workers;
}

void mark_limit_work(size_t nbytes)
{
	work_bytes = nbytes;
}

static bool map_own_bits(void)
{
	size_t needed = align_up((marker_nbytes() >> marker.shift) / 8 + sizeof *own_bits, MIB(1));
	/* What it grows out of is never unmapped. */
	size_t wanted = needed > 2 * own_bits_bytes ? needed : 2 * own_bits_bytes;
	void *bits = needed > own_bits_bytes ? own_map(wanted, "spangc marks") : own_bits;

	if (bits && bits != own_bits) {
		own_bits = bits;
		own_bits_bytes = wanted;
	}
	marker.bits = bits;
	return bits;
}

static bool map_copies(void)
{
	if (!copies)
		copies = own_map(NWORKERS * COPY_BYTES, "spangc copies");
	for (unsigned i = 0; i < NWORKERS; i++)
		marker.worker[i].copy = copies + i * COPY_BYTES;
	return copies;
}

void mark_expect_protection(void)
{
	/* relaxed: for the next marking. */
	atomic_store_explicit(&is_protected, true, memory_order_relaxed);
}

bool mark_expects_protection(void)
{
	return atomic_load_explicit(&is_protected, memory_order_relaxed);
}

/* The size of blocks that may be protected, or be work from when their pages were other blocks'. */
static size_t protected_from(void)
{
	return mark_expects_protection() ? 0 : OS_PAGE_BYTES;
}

static void note_end(void)
{
	/* acquire: pairs with the release in heap.c: the tables cover it. relaxed: see
	 * marker_nbytes(). */
	atomic_store_explicit(&marker.nbytes, atomic_load_explicit(&heap.nbytes, memory_order_acquire),
	                      memory_order_relaxed);
}

/* A program that limits its address space wants it for itself. */
static size_t work_most(void)
{
	size_t by_heap = marker_nbytes() / WORK_SHARE, by_limit = os_memory_limit() / LIMIT_SHARE;

	return by_heap < by_limit ? by_heap : by_limit;
}

static bool start(bool is_collection)
{
	size_t most;

	marker.base = heap.base;
	marker.granules = heap.granules;
	marker.shift = heap.granule_shift;
	marker.align = scan_align;
	marker.nworkers = max_workers;
	marker.nhelpers = 0;
	marker.measure = NULL;
	marker.is_inside = NULL;
	marker.is_collection = is_collection;
	marker.bits = is_collection ? marks.bits : NULL;
	marker.end_skipped = heap.tail_bytes;
	marker.is_stopped = !is_collection;
	memset(marker.worker, 0, sizeof marker.worker);
	note_end();
	most = work_most();
	/* relaxed: no worker but this one. */
	atomic_store_explicit(&marker.copied_bytes, is_collection ? protected_from() : SIZE_MAX,
	                      memory_order_relaxed);
	if ((is_collection && !map_copies()) || !work_start(&marker.pool, most < work_bytes ? most : work_bytes)
	    || !work_join(&marker.worker[0].work, &marker.pool))
		return false;
	work_enter(&marker.pool);
	return true;
}

bool mark_start(void)
{
	return start(false) && map_own_bits();
}

/* seq_cst: as in mark_end(). They see all that came before. */
static void open_to_assists(void)
{
	atomic_store_explicit(&marker.is_open, true, memory_order_seq_cst);
}

bool mark_start_full(void)
{
	if (!start(true))
		return false;
	marks_clear(marker_nbytes());
	open_to_assists();
	return true;
}

/* Bits where no block is: see the head. What is born meanwhile may lose its mark, which is none too
 * early. */
static void clear_strays(void)
{
	size_t nwords = (marker_nbytes() >> marker.shift) / 64;

	for (size_t i = 0; i < nwords; i++) {
		const _Atomic uint8_t *granule = &marker.granules[i * 64];
		/* relaxed: whoever changes them meanwhile has his reasons. */
		uint64_t bits = atomic_load_explicit(&marker.bits[i], memory_order_relaxed);
		uint64_t strays = 0;

		for (uint64_t left = bits; left; left &= left - 1) {
			unsigned k = bit_first(left);

			if (!sizeclass_is_block(atomic_load_explicit(&granule[k],
			                                             memory_order_relaxed)))
				strays |= UINT64_C(1) << k;
		}
		if (strays)
			atomic_fetch_and_explicit(&marker.bits[i], ~strays, memory_order_relaxed);
	}
}

bool mark_start_sticky(void)
{
	if (!start(true))
		return false;
	clear_strays();
	open_to_assists();
	return true;
}

void mark_extend(void)
{
	note_end();
}

void mark_stopped(void)
{
	note_end();
	marker.is_stopped = true;
	work_want(&marker.pool, marker.nhelpers + 1, STOPPED_SPINS);
}

/* relaxed: a worker that does not know yet makes copies. No memory for them: then in place. */
void marker_know_mappings(void)
{
	if (marker.is_stopped)
		atomic_store_explicit(&marker.copied_bytes,
		                      roots_heap_is_protected() && map_copies() ? protected_from() : SIZE_MAX,
		                      memory_order_relaxed);
}

void mark_end(void)
{
	/* seq_cst: `is_open` and `assists`. Who comes later finds it closed, and who came is seen. */
	atomic_store_explicit(&marker.is_open, false, memory_order_seq_cst);
	while (atomic_load_explicit(&marker.assists, memory_order_seq_cst))
		sched_yield();
	work_want(&marker.pool, 0, 0);
	workers_wait();
	if (own_bits)
		os_discard((uintptr_t)own_bits, own_bits_bytes);
	if (copies)
		os_discard((uintptr_t)copies, NWORKERS * COPY_BYTES);
	work_end(&marker.pool);
	workers_drop();
	memset(marker.worker, 0, sizeof marker.worker);
	marker.bits = NULL;
	/* relaxed: nobody marks. */
	atomic_store_explicit(&marker.nbytes, 0, memory_order_relaxed);
}

/* Buffers and bits may be in any state. */
void mark_fork_child(void)
{
	atomic_store_explicit(&marker.is_open, false, memory_order_relaxed);
	atomic_store_explicit(&marker.assists, 0, memory_order_relaxed);
	workers_fork_child();
	if (marker.bits)
		mark_end();
}

void mark_measure_with(size_t (*nbytes)(uintptr_t block, size_t slot_bytes))
{
	marker.measure = nbytes;
}

void mark_decide_with(bool (*is_inside)(uintptr_t block, size_t offset))
{
	marker.is_inside = is_inside;
}

struct mark_counts mark_counts(void)
{
	struct mark_counts sum = { 0 };

	for (unsigned i = 0; i < NWORKERS; i++) {
		sum.nblocks += marker.worker[i].counts.nblocks;
		sum.nslot_bytes += marker.worker[i].counts.nslot_bytes;
		sum.nbytes += marker.worker[i].counts.nbytes;
	}
	return sum;
}

/* --- blocks --- */

static bool fits(uintptr_t p, uintptr_t base, size_t nbytes)
{
	return base >= marker.base && base <= p && p - base < nbytes;
}

__attribute__((no_sanitize("thread"))) bool marker_look(uintptr_t p, struct around *s)
{
	const struct span *span = heap_span_any(p);

	if (!span)
		return false;
	s->base = __atomic_load_n(&span->base, __ATOMIC_RELAXED);
	s->nbytes = (size_t)__atomic_load_n(&span->npages, __ATOMIC_RELAXED) << PAGE_SHIFT;
	s->class = __atomic_load_n(&span->class, __ATOMIC_RELAXED);
	if (!s->class || s->class > SIZECLASS_LARGE || !fits(p, s->base, s->nbytes))
		return false;
	if (s->class == SIZECLASS_LARGE && __atomic_load_n(&span->place, __ATOMIC_RELAXED) != SPAN_LARGE)
		return false;

	size_t most = marker.base + marker_nbytes() - s->base;

	if (s->nbytes > most)
		s->nbytes = most;
	return p - s->base < s->nbytes;
}

SLOW bool marker_find_inside(uintptr_t p, struct found *f)
{
	struct around s;

	if (!marker_look(p, &s))
		return false;
	f->class = s.class;
	if (s.class == SIZECLASS_LARGE) {
		f->start = s.base;
		f->nbytes = s.nbytes;
		return !marker.is_collection || marker_class(f->start) == s.class;
	}

	const struct sizeclass *c = &heap.classes->class[s.class];
	unsigned slot = (unsigned)((p - s.base) * (uint64_t)c->recip >> 32);

	if (slot >= c->nslots)
		return false;
	f->start = s.base + (size_t)slot * c->slot_bytes;
	f->nbytes = c->slot_bytes;
	if (p - f->start >= f->nbytes || marker_class(f->start) != s.class)
		return false;
	return !marker.is_inside || marker.is_inside(f->start, p - f->start);
}

uintptr_t mark_find(uintptr_t p)
{
	struct found f;

	return p - marker.base < marker_nbytes() && marker_find(p, &f) ? f.start : 0;
}

bool mark_is_marked(uintptr_t block)
{
	return block - marker.base >= marker_nbytes() || marker_is_set(marker_granule(block));
}

bool mark_block(uintptr_t block)
{
	struct found f;

	return block - marker.base < marker_nbytes() && marker_find(block, &f)
	       && marker_mark(&marker.worker[0], &f);
}

size_t mark_bytes(uintptr_t block)
{
	struct found f;

	return marker_find(block, &f) ? marker_bytes_to_read(&f) : 0;
}

void mark_visit_words(uintptr_t from, uintptr_t to,
                      bool (*fn)(uintptr_t at, uintptr_t block, void *arg), void *arg)
{
	for (uintptr_t at = align_up(from, marker.align); at + WORD <= to; at += marker.align) {
		uintptr_t block = mark_find(work_from(marker_word(at)));

		if (block && !fn(at, block, arg))
			return;
	}
}

/* --- two markings --- */

/* The bits and counts of a collection, while others are made to be held against them. */
static struct {
	_Atomic uint64_t *bits;
	struct mark_counts counts;
} proven;

bool mark_verify_begin(void)
{
	proven.bits = marker.bits;
	proven.counts = mark_counts();
	if (map_own_bits())
		return true;
	marker.bits = proven.bits;
	return false;
}

void mark_verify_end(void (*fn)(uintptr_t block, void *arg), void *arg)
{
	size_t nwords = (marker_nbytes() >> marker.shift) / 64;

	for (size_t i = 0; i < nwords; i++) {
		/* relaxed: the world is stopped. */
		uint64_t bits = atomic_load_explicit(&marker.bits[i], memory_order_relaxed)
		                & ~atomic_load_explicit(&proven.bits[i], memory_order_relaxed);

		for (; bits; bits &= bits - 1)
			fn(marker.base + ((i * 64 + bit_first(bits)) << marker.shift), arg);
	}
	os_discard((uintptr_t)own_bits, own_bits_bytes);
	marker.bits = proven.bits;
	for (unsigned i = 0; i < NWORKERS; i++)
		marker.worker[i].counts = (struct mark_counts){ 0 };
	marker.worker[0].counts = proven.counts;
}

void mark_see_thread(uintptr_t from, uintptr_t to, const char *what, void *arg)
{
	(void)what;
	(void)arg;
	mark_threads_range(from, to);
}

void mark_see_root(uintptr_t from, uintptr_t to, const char *what, void *nbytes)
{
	(void)what;
	*(uint64_t *)nbytes += to - from;
	mark_range(from, to);
}
