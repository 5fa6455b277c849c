/* trim.c: which os pages of a span hold no allocated slot, and giving them back.
 *
 * Reached from spanset.c: an idle owner's spans are tidied (trim_span()), a span is used again
 * (trim_forget()). Depends on discard.c. The owner's lock is held, also during madvise: nobody can
 * take a slot meanwhile.
 *
 * A current span is trimmed but not counted in live.trimmed_bytes: its slots are taken without a
 * word to trim_forget().
 */
#include "core/trim.h"

#include "core/discard.h"
#include "core/knobs.h"
#include "core/live.h"

/* The os pages that free slots [from, to) cover, as ones. */
static uint64_t covered(const struct span *s, unsigned from, unsigned to)
{
	uintptr_t begin = align_up((uintptr_t)span_slot_address(s, from), OS_PAGE_BYTES);
	uintptr_t end = (uintptr_t)span_slot_address(s, to);

	if (to == s->nslots)
		end = s->base + ((size_t)s->npages << PAGE_SHIFT);
	if (begin >= align_down(end, OS_PAGE_BYTES))
		return 0;
	return bit_range((unsigned)((begin - s->base) / OS_PAGE_BYTES),
	                 (unsigned)((end - begin) / OS_PAGE_BYTES));
}

static bool is_free_slot(const struct span *s, unsigned slot)
{
	return s->free[slot / 64] >> slot % 64 & 1;
}

/* Os pages of the span that hold no allocated slot, as ones. */
static uint64_t vacant_os_pages(const struct span *s)
{
	uint64_t pages = 0;

	for (unsigned from = 0, to; from < s->nslots; from = to + 1) {
		for (to = from; to < s->nslots && is_free_slot(s, to); to++)
			;
		if (to > from)
			pages |= covered(s, from, to);
	}
	return pages;
}

/* Returns those that the kernel took. */
static uint64_t discard_os_pages(const struct span *s, uint64_t pages)
{
	uint64_t done = 0;

	while (pages) {
		unsigned first = bit_first(pages), n = 1;

		while (first + n < 64 && pages >> (first + n) & 1)
			n++;

		uintptr_t addr = s->base + first * OS_PAGE_BYTES;

		if (discard_range(addr, n * OS_PAGE_BYTES) != PAGES_DIRTY)
			done |= bit_range(first, n);
		pages &= ~bit_range(first, n);
	}
	return done;
}

static void note_trimmed(struct span *s, uint64_t pages)
{
	/* It may wrap on the way down from a partial sum. */
	count_add(&live.trimmed_bytes,
	          (uint64_t)OS_PAGE_BYTES * (bit_count(pages) - (uint64_t)bit_count(s->trimmed)));
	s->trimmed = pages;
}

void trim_forget(struct span *s)
{
	if (s->trimmed)
		note_trimmed(s, 0);
}

size_t trim_span(struct span *s)
{
	/* Nothing new since last time. */
	if (knobs.madvise == KNOB_MADVISE_NONE || s->nfree == s->nfree_trimmed)
		return 0;

	uint64_t done = discard_os_pages(s, vacant_os_pages(s) & ~s->trimmed);

	s->nfree_trimmed = s->nfree;
	if (s->place == SPAN_PARTIAL)
		note_trimmed(s, s->trimmed | done);
	return bit_count(done) * OS_PAGE_BYTES;
}
