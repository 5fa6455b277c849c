/* marker.h: what marks: what mark.c, mark_drain.c and mark_dirty.c share. */
#ifndef SCAN_MARKER_H
#define SCAN_MARKER_H

#include "core/heap.h"
#include "core/sizeclass.h"
#include "core/span.h"
#include "scan/mark.h"
#include "scan/work.h"
#include "scan/workers.h"

#define WORD sizeof(uintptr_t)
#define OBLET_BYTES MARK_NOW_BYTES
#define NSEEN 64
#define SEEN_KEPT 16                            /* whose bits may still be on their way */
#define CHUNK_WORDS 16
#define AHEAD_BYTES 512
#define NFRESH 16
#define NNEXT 16
#define ASSISTS_MAX 8                           /* at the same time */
#define NWORKERS (WORKERS_MAX + ASSISTS_MAX)

/* `seen` holds so many; rings count what was ever put in and taken out. */
struct worker {
	_Alignas(CACHE_LINE) uintptr_t seen[NSEEN + 1];
	uintptr_t fresh[NFRESH];
	work_item next[NNEXT];
	unsigned nseen, nfresh, nfresh_out, nnext, nnext_out;
	struct work work;
	struct mark_counts counts;
	char *copy;                             /* room for a piece */
	bool has_overflown;                     /* a marked block was not noted as work */
};

extern struct marker {
	/* Constant from mark_start() to mark_end(). */
	_Atomic uint64_t *bits;
	_Atomic uint8_t *granules;
	uintptr_t base;
	unsigned shift;                         /* of a granule */
	unsigned align;
	bool is_collection;                     /* the program may run, and sees the marks */
	size_t (*measure)(uintptr_t block, size_t slot_bytes);
	bool (*is_inside)(uintptr_t block, size_t offset);
	size_t end_skipped;                     /* bytes of a slot's end that hold no pointer */

	/* The first worker. */
	unsigned nworkers, nhelpers;            /* at most; that were started */
	bool is_stopped;

	/* The first worker, any reads. */
	_Alignas(CACHE_LINE) _Atomic size_t nbytes;     /* of the heap */
	_Atomic bool is_open;                   /* to assists */
	_Atomic size_t copied_bytes;            /* blocks from here on may be protected: read as copies */

	_Alignas(CACHE_LINE) _Atomic uint32_t assists;  /* a bit for each that is under way */
	struct work_pool pool;
	struct worker worker[NWORKERS];
} marker;

/* A block as far as marking needs it. */
struct found {
	uintptr_t start;
	size_t    nbytes;                       /* its slot */
	class_idx class;
};

/* What a span's record says, as far as it fits `p`: it may be half-way to another span. False: there
 * is none around p. ctx: any */
struct around {
	uintptr_t base;
	size_t nbytes;                          /* of the span, within the heap */
	class_idx class;
};
bool marker_look(uintptr_t p, struct around *s);

/* The block that `p`, not the start of a small one, lies in. ctx: any */
SLOW bool marker_find_inside(uintptr_t p, struct found *f);

/* Reads blocks until nothing is left but what other workers have, or `limit` bytes were read in all:
 * then true. ctx: any */
bool marker_drain(struct worker *w, uint64_t limit);

/* Reads [from, to) of a block, or of neighbours of `block_bytes` each, of a piece at most: aligned words,
 * in place or as a copy. ctx: any */
void marker_read(struct worker *w, uintptr_t from, uintptr_t to, size_t block_bytes);

/* Reads [from, to) of the heap, whole os pages, that was written. ctx: any */
void marker_read_dirty(struct worker *w, uintptr_t from, uintptr_t to);

/* The list of mappings was read, if the world is stopped: is all of the heap readable in place? ctx: any */
void marker_know_mappings(void);

/* Notes all pieces of [from, to) but the last, whose beginning it tells. ctx: any */
SLOW uintptr_t marker_note_pieces(struct worker *w, uintptr_t from, uintptr_t to);

/* An item of work may be os pages that were written: so many, below their address. */
#define DIRTY_WORDS WORK_WORDS_MAX
_Static_assert(OBLET_BYTES / WORD + 1 < DIRTY_WORDS, "");

/* Its number among the granules of the heap; as many bits are there. */
HOT size_t marker_granule(uintptr_t p)
{
	return (p - marker.base) >> marker.shift;
}

/* Bytes of the heap. */
HOT size_t marker_nbytes(void)
{
	/* relaxed: it grows only; what a worker takes for the heap's outside is read again when all
	 * know. The tables cover it, see mark_extend(). */
	return atomic_load_explicit(&marker.nbytes, memory_order_relaxed);
}

HOT class_idx marker_class(uintptr_t p)
{
	/* relaxed: the world is stopped, or what is freed and made meanwhile is another's to see. */
	return atomic_load_explicit(&marker.granules[marker_granule(p)], memory_order_relaxed);
}

/* Precondition: `p` is in the heap. */
HOT bool marker_find(uintptr_t p, struct found *f)
{
	f->class = marker_class(p);
	if (unlikely(!sizeclass_is_block(f->class) || f->class == SIZECLASS_LARGE))
		return marker_find_inside(p, f);
	f->start = align_down(p, (size_t)1 << marker.shift);
	f->nbytes = heap.classes->class[f->class].slot_bytes;
	return true;
}

HOT bool marker_is_set(size_t granule)
{
	/* relaxed: who sets the bit is alone in reading the block; nothing else is told by it. */
	return atomic_load_explicit(&marker.bits[granule / 64], memory_order_relaxed)
	       >> (granule % 64) & 1;
}

/* True: it was not set. The write waits for the line, and other workers for us: only if it must. */
HOT bool marker_set(size_t granule)
{
	uint64_t bit = UINT64_C(1) << (granule % 64);

	/* relaxed: as in marker_is_set(). */
	return !marker_is_set(granule)
	       && !(atomic_fetch_or_explicit(&marker.bits[granule / 64], bit, memory_order_relaxed)
	            & bit);
}

HOT size_t marker_bytes_to_read(const struct found *f)
{
	if (f->class != SIZECLASS_LARGE && sizeclass_is_noscan(f->class))
		return 0;
	if (marker.measure) {
		size_t n = marker.measure(f->start, f->nbytes);

		return n < f->nbytes ? n : f->nbytes;
	}
	return f->class == SIZECLASS_LARGE ? f->nbytes : f->nbytes - marker.end_skipped;
}

HOT void marker_note(struct worker *w, uintptr_t from, size_t nbytes)
{
	if (unlikely(!work_push(&w->work, work_item_of(from, nbytes / WORD))))
		w->has_overflown = true;
}

/* True: it was not marked before. */
HOT bool marker_mark(struct worker *w, const struct found *f)
{
	if (!marker_set(marker_granule(f->start)))
		return false;

	uintptr_t from = f->start, to = from + marker_bytes_to_read(f);

	w->counts.nblocks++;
	w->counts.nslot_bytes += f->nbytes;
	if (unlikely(to - from > OBLET_BYTES))
		from = marker_note_pieces(w, from, to);
	if (to - from >= WORD)
		marker_note(w, from, to - from);
	return true;
}

/* The program's memory, whatever it holds: a race by nature where it runs on. */
__attribute__((no_sanitize("address", "thread"))) static inline uintptr_t marker_word(uintptr_t at)
{
	uintptr_t word;

	__builtin_memcpy(&word, (const void *)at, sizeof word);
	return word;
}

#endif
