/* mark_drain.c: from words to blocks to words, by several workers: see mark.h.
 *
 * Reached from mark.c, and from mark_assist() of allocating threads. Takes no lock. Workers besides the
 * caller are threads of workers.h: they touch no thread-local, and no call of libc's that sets errno.
 *
 * What happens to a word:
 *     read in a range             does it look like an address of the heap? Then its mark bit is
 *                                 prefetched, and it waits in `seen`
 *     older ones of `seen`        marked, the start of a block as most are: done. Else its granule is
 *                                 prefetched, and it waits in `fresh`
 *     oldest of `fresh`           which block is it? Mark it, and note its range as work
 *     top of the work             its first lines are prefetched (before, where no other work is left:
 *                                 resolve_all_seen()), and it waits in `next`
 *     oldest of `next`            is read
 * The start of a block is known by its granule alone; only other addresses need the span. A bit is
 * trusted without its granule, a sixteenth as many lines: it is set for starts of blocks only, but for
 * slots that are about to become blocks, which need not be read (mark_threads_range()).
 *
 * While the program runs a block of an os page or more may be protected, or its pages be given
 * back and protected, at any time: it is read as a copy (peek_bare()), as it is in a stop if the
 * list of mappings shows such pages. Smaller ones share their pages with others, and are read in
 * place; but one that was freed after it became work may have pages by now that the program protects:
 * from the first time on that it does so everything is copied (mark_expect_protection()).
 *
 * Invariants:
 *   M1  a marked block was read or is in work, `next` or, if there was no memory for it, found again
 *       by reread() (tests/unit/scan_mark.c);
 *   M2  `seen`, `fresh`, `next` and the work of all workers are empty when mark_drain() returns;
 *   M3  who sets a block's bit is alone in noting it as work (tests/race/mark.c).
 */
#include "scan/marker.h"

#include "scan/peek.h"
#include "scan/roots.h"

HOT void mark_at(struct worker *w, uintptr_t p)
{
	struct found f;

	if (marker_find(p, &f))
		marker_mark(w, &f);
}

HOT void resolve_fresh(struct worker *w)
{
	mark_at(w, w->fresh[w->nfresh_out++ % NFRESH]);
}

/* The oldest n of `seen`. */
static void resolve_seen(struct worker *w, unsigned n)
{
	const _Atomic uint64_t *bits = marker.bits;
	const _Atomic uint8_t *granules = marker.granules;
	uintptr_t base = marker.base;
	unsigned shift = marker.shift, in = w->nfresh, out = w->nfresh_out;

	for (unsigned i = 0; i < n; i++) {
		uintptr_t p = w->seen[i];
		size_t g = (p - base) >> shift;

		/* relaxed: as in marker_is_set(). */
		if (atomic_load_explicit(&bits[g / 64], memory_order_relaxed) >> (g % 64) & 1)
			continue;
		if (in - out == NFRESH)
			mark_at(w, w->fresh[out++ % NFRESH]);
		__builtin_prefetch((const void *)&granules[g]);
		w->fresh[in++ % NFRESH] = p;
	}
	w->nfresh = in;
	w->nfresh_out = out;
	w->nseen -= n;
	for (unsigned i = 0; i < w->nseen; i++)
		w->seen[i] = w->seen[n + i];
}

/* There is nothing to read while their bits and granules are on their way: what they are the addresses of,
 * likely not read yet, comes with them. A list is marked in half the time. */
static void resolve_all_seen(struct worker *w)
{
	for (unsigned i = 0; i < w->nseen; i++)
		__builtin_prefetch((const void *)w->seen[i]);
	resolve_seen(w, w->nseen);
}

HOT void make_room(struct worker *w, unsigned n)
{
	if (unlikely(w->nseen + n > NSEEN))
		resolve_seen(w, w->nseen - SEEN_KEPT);
}

/* All words are put down, and only addresses of the heap stay: no branch that goes by what a word is. */
HOT void see_words(struct worker *w, uintptr_t from, unsigned n, uintptr_t base, size_t nbytes)
{
	unsigned first, end;

	make_room(w, n);
	first = end = w->nseen;
#pragma GCC unroll 8
	for (unsigned i = 0; i < n; i++) {
		uintptr_t p = work_from(marker_word(from + i * WORD));  /* above may be a tag */

		w->seen[end] = p;
		end += p - base < nbytes;
	}
	for (unsigned i = first; i < end; i++)
		__builtin_prefetch((const void *)&marker.bits[marker_granule(w->seen[i]) / 64]);
	w->nseen = end;
}

HOT void see(struct worker *w, uintptr_t word, uintptr_t base, size_t nbytes)
{
	uintptr_t p = work_from(word);

	if (likely(p - base >= nbytes))
		return;
	make_room(w, 1);
	__builtin_prefetch((const void *)&marker.bits[marker_granule(p) / 64]);
	w->seen[w->nseen++] = p;
}

static void read_words(struct worker *w, uintptr_t from, uintptr_t to)
{
	uintptr_t base = marker.base;
	size_t nbytes = marker_nbytes();

	for (; to - from > CHUNK_WORDS * WORD; from += CHUNK_WORDS * WORD) {
		__builtin_prefetch((const void *)(from + AHEAD_BYTES));
		__builtin_prefetch((const void *)(from + AHEAD_BYTES + CACHE_LINE));
		see_words(w, from, CHUNK_WORDS, base, nbytes);
	}
	see_words(w, from, (unsigned)((to - from) / WORD), base, nbytes);
}

static void read_unaligned(struct worker *w, uintptr_t from, uintptr_t to)
{
	size_t nbytes = marker_nbytes();

	for (uintptr_t at = from; at + WORD <= to; at += marker.align)
		see(w, marker_word(at), marker.base, nbytes);
}

static void read_range(struct worker *w, uintptr_t from, uintptr_t to)
{
	w->counts.nbytes += to - from;
	if (likely(marker.align == WORD))
		read_words(w, align_up(from, WORD), align_down(to, WORD));
	else
		read_unaligned(w, align_up(from, marker.align), to);
}

/* What can't be read is gone. */
static SLOW void read_copy(struct worker *w, uintptr_t from, uintptr_t to)
{
	while (from < to) {
		size_t n = peek_bare(w->copy, from, to - from);

		read_range(w, (uintptr_t)w->copy, (uintptr_t)w->copy + n);
		from = align_down(from + n, OS_PAGE_BYTES) + OS_PAGE_BYTES;
	}
}

HOT void read_block(struct worker *w, uintptr_t from, uintptr_t to, size_t block_bytes)
{
	/* relaxed: copies are never wrong. */
	bool is_copied = block_bytes >= atomic_load_explicit(&marker.copied_bytes, memory_order_relaxed);

	if (likely(to - from <= CHUNK_WORDS * WORD && !is_copied && marker.align == WORD)) {
		w->counts.nbytes += to - from;
		see_words(w, from, (unsigned)((to - from) / WORD), marker.base, marker_nbytes());
		return;
	}
	if (unlikely(is_copied))
		read_copy(w, from, to);
	else
		read_range(w, from, to);
}

void marker_read(struct worker *w, uintptr_t from, uintptr_t to, size_t block_bytes)
{
	read_block(w, from, to, block_bytes);
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

HOT void read_item(struct worker *w, work_item item)
{
	uintptr_t from = work_from(item), page = align_down(from, OS_PAGE_BYTES);
	size_t nwords = work_nwords(item);

	if (unlikely(nwords == DIRTY_WORDS))
		marker_read_dirty(w, page, page + (from - page) * OS_PAGE_BYTES);
	else
		read_block(w, from, from + nwords * WORD, nwords * WORD);
}

bool marker_drain(struct worker *w, uint64_t limit)
{
	while (w->counts.nbytes < limit) {
		fill_next(w);
		if (w->nnext != w->nnext_out) {
			read_item(w, w->next[w->nnext_out++ % NNEXT]);
			work_share(&w->work);
		} else if (w->nseen) {
			resolve_all_seen(w);
		} else if (w->nfresh != w->nfresh_out) {
			resolve_fresh(w);
		} else {
			return false;
		}
	}
	return true;
}

/* All pieces but the last, whose beginning it tells. A word may lie across the border. */
SLOW uintptr_t marker_note_pieces(struct worker *w, uintptr_t from, uintptr_t to)
{
	size_t nbytes = OBLET_BYTES + (marker.align < WORD ? WORD : 0);

	for (; to - from > OBLET_BYTES; from += OBLET_BYTES)
		marker_note(w, from, to - from < nbytes ? to - from : nbytes);
	return from;
}

/* A range that is shared out begins and ends at words; what is left of it is read here. */
void mark_range(uintptr_t from, uintptr_t to)
{
	struct worker *w = &marker.worker[0];

	if (to - from > OBLET_BYTES) {
		from = marker_note_pieces(w, marker.align < WORD ? from : align_up(from, WORD), to);
		work_share(&w->work);
	}
	read_range(w, from, to);
}

void mark_word(uintptr_t word)
{
	see(&marker.worker[0], word, marker.base, marker_nbytes());
}

/* --- together --- */

/* ctx: a thread of workers.h */
static void help(unsigned number)
{
	struct worker *w = &marker.worker[number];

	while (work_await(&marker.pool, number)) {
		work_enter(&marker.pool);
		do
			marker_drain(w, UINT64_MAX);
		while (work_wait(&w->work, number));
		work_exit(&marker.pool);
	}
}

/* Fewer than wanted if the kernel refuses them. */
void mark_call_helpers(unsigned nworkers)
{
	for (; marker.nhelpers + 1 < nworkers; marker.nhelpers++) {
		unsigned number = marker.nhelpers + 1;
		struct worker *w = &marker.worker[number];

		if (!w->work.pool && !work_join(&w->work, &marker.pool))
			return;
		if (!workers_start(number, help))
			return;
	}
}

static COLD void read_all(struct worker *w, uintptr_t from, uintptr_t to)
{
	size_t nbytes = OBLET_BYTES + (marker.align < WORD ? WORD : 0);

	for (; to - from > OBLET_BYTES; from += OBLET_BYTES)
		read_block(w, from, to - from < nbytes ? to : from + nbytes, nbytes);
	read_block(w, from, to, to - from);
}

/* There was no memory for some of the work: every marked block is read again. */
static COLD void reread(struct worker *w)
{
	size_t nwords = (marker_nbytes() >> marker.shift) / 64;

	for (size_t i = 0; i < nwords; i++) {
		/* relaxed: as in marker_is_set(). Bits that come are noted as work. */
		uint64_t bits = atomic_load_explicit(&marker.bits[i], memory_order_relaxed);

		for (; bits; bits &= bits - 1) {
			uintptr_t at = marker.base + ((i * 64 + bit_first(bits)) << marker.shift);
			struct found f;

			if (marker_find(at, &f))
				read_all(w, f.start, f.start + marker_bytes_to_read(&f));
			marker_drain(w, UINT64_MAX);
		}
	}
}

static bool has_overflown(void)
{
	bool has = false;

	for (unsigned i = 0; i < NWORKERS; i++) {
		has |= marker.worker[i].has_overflown;
		marker.worker[i].has_overflown = false;
	}
	return has;
}

void mark_drain(void)
{
	struct worker *w = &marker.worker[0];

	marker_know_mappings();
	if (marker.nhelpers + 1 < marker.nworkers
	    && marker_drain(w, w->counts.nbytes + MARK_ALONE_BYTES)) {
		mark_call_helpers(marker.nworkers);
		work_want(&marker.pool, marker.nworkers, WORK_SPINS);
	}
	do {
		do
			marker_drain(w, UINT64_MAX);
		while (work_wait(&w->work, 0));
		if (!has_overflown())
			return;
		reread(w);
	} while (true);
}

/* Nothing is left with it: what it has goes to the others. */
static void hand_back(struct worker *w)
{
	resolve_seen(w, w->nseen);
	while (w->nfresh != w->nfresh_out)
		resolve_fresh(w);
	for (; w->nnext != w->nnext_out; w->nnext_out++) {
		if (!work_push(&w->work, w->next[w->nnext_out % NNEXT]))
			read_item(w, w->next[w->nnext_out % NNEXT]);
	}
	resolve_seen(w, w->nseen);
	while (w->nfresh != w->nfresh_out)
		resolve_fresh(w);
	work_leave(&w->work);
}

static uint64_t assist(struct worker *w, size_t nbytes)
{
	uint64_t before = w->counts.nbytes;

	if (!work_ask(&marker.pool))
		return 0;
	work_enter(&marker.pool);
	if (work_join(&w->work, &marker.pool)) {
		marker_drain(w, before + nbytes);
		hand_back(w);
	}
	work_exit(&marker.pool);
	return w->counts.nbytes - before;
}

uint64_t mark_assist(size_t nbytes)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < ASSISTS_MAX; i++) {
		uint32_t bit = UINT32_C(1) << i;

		/* seq_cst: `assists` and `is_open`, see mark_end(). acquire: the worker's state. */
		if (atomic_fetch_or_explicit(&marker.assists, bit, memory_order_seq_cst) & bit)
			continue;
		if (atomic_load_explicit(&marker.is_open, memory_order_seq_cst))
			n = assist(&marker.worker[WORKERS_MAX + i], nbytes);
		/* release: the worker's state. */
		atomic_fetch_and_explicit(&marker.assists, ~bit, memory_order_release);
		break;
	}
	return n;
}
