/* sweep.c: see sweep.h.
 *
 * Reached from the collector, from spanset.c (before the heap grows) and from tests. Reads granules
 * and marks side by side, 64 at a time; knows spans only by the blocks it reclaims. Takes no lock but
 * LOCK_PAGES, for large blocks.
 *
 * Why what it frees is nobody's: when the world was stopped every block that something led to was
 * marked, and so was every slot on its way from a magazine to the program, whose address was in a
 * register or on a stack. What is made later is marked before its granule is set. So an allocated
 * block without mark is one that only a hidden pointer leads to, or none.
 *
 * What may come between reading and claiming, and what happens:
 *     a hidden pointer frees it      free() clears the granule by an exchange while is_black: the claim
 *                                    finds 0, and is none
 *     ... and malloc makes it anew   the claim finds its granule, and then its mark: the granule is put
 *                                    back; who asks for the block meanwhile waits (sweep_is_reclaimed())
 * A claimed block's span is stable: it has a slot that is neither free nor about to be.
 *
 * Invariants:
 *   W1  each piece is claimed once: state changes by compare and exchange. Who is so late that a later
 *       sweep has come to the state it read has claimed a piece of that sweep (tests/race/sweep.c);
 *   W2  sweep_is_done() only when every claimed piece is swept.
 */
#include "core/sweep.h"

#include "core/cache.h"
#include "core/central.h"
#include "core/heap.h"
#include "core/large.h"
#include "core/marks.h"
#include "core/os.h"
#include "core/sigmask.h"
#include "core/span.h"
#include "core/spanset.h"

#include <sched.h>
#include <string.h>

#define GROUP 64                                /* granules that share a word of marks */
#define GROUP_BYTES ((size_t)GROUP << MARKS_GRANULE_SHIFT)
#define WORD_BYTES 8
#define PIECE_BYTES KIB(256)                    /* with signals blocked */
#define WAIT_MS 10000

#define LOW7 UINT64_C(0x7f7f7f7f7f7f7f7f)
#define TOPS UINT64_C(0x8080808080808080)

typedef uint64_t __attribute__((may_alias)) granule_word;

_Alignas(CACHE_LINE) _Atomic uint64_t sweep_state;

static struct {
	_Alignas(CACHE_LINE) _Atomic uint64_t nunits_done;
	_Atomic uint64_t nunits;
	_Atomic uint64_t nblocks, nbytes, nlarge, ns;
} sweep;

/* Slots of one bitmap word of a span, on their way there. */
struct gathered {
	struct span *span;
	uintptr_t base;                         /* the span's ... */
	size_t nbytes;                          /* ... and its length; 0: none */
	uint64_t bits;
	unsigned word;
	struct sweep_counts counts;
};

void sweep_begin(size_t heap_bytes)
{
	uint64_t nunits = heap_bytes / SWEEP_UNIT_BYTES;

	check(sweep_is_done() && marks_are_on());
	check(heap_bytes % SWEEP_UNIT_BYTES == 0 && nunits >> SWEEP_UNIT_BITS == 0);
	/* relaxed, all: published by the release below. */
	atomic_store_explicit(&sweep.nblocks, 0, memory_order_relaxed);
	atomic_store_explicit(&sweep.nbytes, 0, memory_order_relaxed);
	atomic_store_explicit(&sweep.nlarge, 0, memory_order_relaxed);
	atomic_store_explicit(&sweep.ns, 0, memory_order_relaxed);
	atomic_store_explicit(&sweep.nunits_done, 0, memory_order_relaxed);
	atomic_store_explicit(&sweep.nunits, nunits, memory_order_relaxed);
	atomic_store_explicit(&marks.is_sweeping, true, memory_order_relaxed);
	/* release: pairs with the acquire in claim(): the marks are there. */
	atomic_store_explicit(&sweep_state, nunits << SWEEP_UNIT_BITS, memory_order_release);
}

bool sweep_is_done(void)
{
	/* acquire: pairs with the release in sweep_piece(): what was reclaimed is with its owners. */
	return atomic_load_explicit(&sweep.nunits_done, memory_order_acquire)
	       == atomic_load_explicit(&sweep.nunits, memory_order_relaxed);
}

struct sweep_counts sweep_counts(void)
{
	/* relaxed, all: figures. */
	return (struct sweep_counts){
		.nblocks = atomic_load_explicit(&sweep.nblocks, memory_order_relaxed),
		.nbytes = atomic_load_explicit(&sweep.nbytes, memory_order_relaxed),
		.nlarge = atomic_load_explicit(&sweep.nlarge, memory_order_relaxed),
		.ns = atomic_load_explicit(&sweep.ns, memory_order_relaxed),
	};
}

/* Up to `want` units from *first on; how many. */
static uint64_t claim(uint64_t want, uint64_t *first)
{
	/* acquire, both: pairs with the release in sweep_begin(). */
	uint64_t state = atomic_load_explicit(&sweep_state, memory_order_acquire);
	uint64_t n;

	do {
		if (!sweep_has_more(state))
			return 0;
		*first = sweep_next(state);
		n = sweep_end(state) - *first;
		n = n < want ? n : want;
	} while (!atomic_compare_exchange_weak_explicit(&sweep_state, &state, state + n,
	                                                memory_order_acquire,
	                                                memory_order_acquire));
	return n;
}

/* --- what is dead --- */

/* 0x80 in each byte that is not 0. */
static uint64_t nonzero_bytes(uint64_t w)
{
	return (((w & LOW7) + LOW7) | w) & TOPS;
}

/* A bit for each byte of `w` that holds the class of a block. */
static unsigned blocks_in(uint64_t w)
{
	uint64_t blocks = nonzero_bytes(w) & nonzero_bytes(~w);         /* ~w: not RECLAIMED */

	return (unsigned)((blocks >> 7) * UINT64_C(0x0102040810204080) >> 56);
}

/* 0xff in byte i for each bit i of `byte`. */
static uint64_t spread(unsigned byte)
{
	uint64_t w = byte * UINT64_C(0x0101010101010101) & UINT64_C(0x8040201008040201);

	return (nonzero_bytes(w) >> 7) * 0xff;
}

/* --- giving it back --- */

static void flush(struct gathered *g)
{
	if (g->bits) {
		g->counts.nblocks += bit_count(g->bits);
		g->counts.nbytes += bit_count(g->bits) * g->span->slot_bytes;
		spanset_put_remote_word(g->span, g->word, g->bits);
	}
	g->bits = 0;
}

static void gather(struct gathered *g, uintptr_t p)
{
	struct span *s = g->span;

	if (unlikely(p - g->base >= g->nbytes)) {
		flush(g);
		g->span = s = heap_span(p);
		g->base = s->base;
		g->nbytes = (size_t)s->npages << PAGE_SHIFT;
	}

	unsigned slot = span_slot(s, p);

	if (slot / 64 != g->word)
		flush(g);
	g->word = slot / 64;
	if (unlikely(heap.clears_free))
		memset((void *)p, 0, s->slot_bytes - heap.tail_bytes);
	g->bits |= UINT64_C(1) << slot % 64;
}

static void reclaim_large(struct gathered *g, uintptr_t p)
{
	flush(g);
	g->nbytes = 0;
	g->counts.nblocks++;
	g->counts.nlarge++;
	g->counts.nbytes += large_reclaim((void *)p);
}

/* Blocks of one word of granules, which held `w`, as bits: made anew, and not to be had. */
static COLD void put_back(size_t first, uint64_t w, unsigned reborn)
{
	for (; reborn; reborn &= reborn - 1) {
		unsigned i = bit_first(reborn);

		/* release: pairs with who waits in sweep_is_reclaimed(). */
		atomic_store_explicit(&heap.granules[first + i], (class_idx)(w >> 8 * i),
		                      memory_order_release);
	}
}

/* Those of the granules' blocks that have no mark, as bits of `dead`, are claimed at once. */
static void claim_blocks(struct gathered *g, size_t first, unsigned dead)
{
	granule_word *word = (granule_word *)(uintptr_t)&heap.granules[first];
	/* acq_rel: the granule of a block made meanwhile comes with its mark (cache_hand_out()), and its
	 * span is complete; what is left in the slot comes before its reuse. */
	uint64_t w = __atomic_fetch_or(word, spread(dead), __ATOMIC_ACQ_REL);
	unsigned claimed = blocks_in(w) & dead;
	/* relaxed: ordered by the acquire above. */
	unsigned reborn = (unsigned)(atomic_load_explicit(&marks.bits[first / GROUP], memory_order_relaxed)
	                             >> first % GROUP) & claimed;

	if (unlikely(reborn))
		put_back(first, w, reborn);
	for (claimed &= ~reborn; claimed; claimed &= claimed - 1) {
		unsigned i = bit_first(claimed);
		uintptr_t p = heap.base + ((first + i) << MARKS_GRANULE_SHIFT);

		if (unlikely((class_idx)(w >> 8 * i) == SIZECLASS_LARGE))
			reclaim_large(g, p);
		else
			gather(g, p);
	}
}

/* The granules of a group first, then their marks: a block made meanwhile has both. Marks without a
 * block go: a slot that was freed during the cycle, or an address in a register. */
static void sweep_group(struct gathered *g, size_t first)
{
	const granule_word *words = (const granule_word *)(uintptr_t)&heap.granules[first];
	_Atomic uint64_t *bits = &marks.bits[first / GROUP];
	uint64_t blocks = 0;

	for (unsigned i = 0; i < GROUP / WORD_BYTES; i++) {
		/* acquire: pairs with the release in cache_hand_out(). */
		uint64_t w = __atomic_load_n(&words[i], __ATOMIC_ACQUIRE);

		if (w)
			blocks |= (uint64_t)blocks_in(w) << 8 * i;
	}
	/* relaxed: ordered by the acquires above. */
	uint64_t marked = atomic_load_explicit(bits, memory_order_relaxed);

	if (unlikely(marked & ~blocks))
		/* relaxed: of a block that is born meanwhile it may go, too: it has been passed. */
		atomic_fetch_and_explicit(bits, ~(marked & ~blocks), memory_order_relaxed);
	blocks &= ~marked;
	for (unsigned i = 0; blocks; i++, blocks >>= 8) {
		if (blocks & 0xff)
			claim_blocks(g, first + i * WORD_BYTES, blocks & 0xff);
	}
}

static void note(const struct sweep_counts *n)
{
	count_add(&sweep.nblocks, n->nblocks);
	count_add(&sweep.nbytes, n->nbytes);
	count_add(&sweep.nlarge, n->nlarge);
	count_add(&sweep.ns, n->ns);
}

static void sweep_piece(uint64_t first_unit, uint64_t nunits)
{
	const size_t per_unit = SWEEP_UNIT_BYTES >> MARKS_GRANULE_SHIFT;
	size_t from = first_unit * per_unit, to = from + nunits * per_unit;
	uint64_t start = os_now_ns();
	struct gathered g = { 0 };

	for (size_t group = from; group < to; group += GROUP)
		sweep_group(&g, group);
	flush(&g);
	g.counts.ns = os_now_ns() - start;
	note(&g.counts);
	/* release: pairs with the acquire in sweep_is_done(). */
	atomic_fetch_add_explicit(&sweep.nunits_done, nunits, memory_order_release);
}

bool sweep_some(size_t nbytes)
{
	const uint64_t piece = PIECE_BYTES / SWEEP_UNIT_BYTES;
	uint64_t want = (nbytes + SWEEP_UNIT_BYTES - 1) / SWEEP_UNIT_BYTES;

	while (want) {
		struct sigmask saved;
		uint64_t first;

		/* A handler that does not return would leave the piece half done. */
		sigmask_block(&saved);

		uint64_t n = claim(want < piece ? want : piece, &first);

		if (n)
			sweep_piece(first, n);
		sigmask_restore(&saved);
		if (!n)
			return false;
		want -= n;
	}
	return true;
}

/* --- afterwards --- */

static void settle_cache(struct cache *k, void *arg)
{
	(void)arg;
	spanset_harvest(&k->spans);
	spanset_give_vacant(&k->spans, k->spans.npages_vacant);
}

void sweep_finish(void)
{
	check(sweep_is_done());
	/* relaxed: free() may find out later. */
	atomic_store_explicit(&marks.is_sweeping, false, memory_order_relaxed);
	cache_visit(settle_cache, NULL);
	central_harvest();
}

bool sweep_is_reclaimed(uintptr_t p)
{
	uint64_t start_ms = os_now_ms();

	/* Only who sweeps puts back. After a fork in the midst of it nobody does. */
	while (!sweep_is_done() && marks_is_set(p) && os_now_ms() - start_ms < WAIT_MS) {
		/* acquire: pairs with the release in put_back(). */
		if (atomic_load_explicit(heap_granule(p), memory_order_acquire)
		    != SIZECLASS_RECLAIMED)
			return false;
		sched_yield();
	}
	/* acquire: as above. It may have been put back, and the sweep be over, since the last look. */
	return atomic_load_explicit(heap_granule(p), memory_order_acquire) == SIZECLASS_RECLAIMED;
}

void sweep_fork_child(void)
{
	/* relaxed, all: the child has one thread. */
	atomic_store_explicit(&sweep_state, 0, memory_order_relaxed);
	atomic_store_explicit(&sweep.nunits_done, 0, memory_order_relaxed);
	atomic_store_explicit(&sweep.nunits, 0, memory_order_relaxed);
	atomic_store_explicit(&marks.is_sweeping, false, memory_order_relaxed);
	atomic_store_explicit(&marks.is_black, false, memory_order_relaxed);
}
