/* span.c: allocation state of one span.
 *
 * Reached from spanset*.c (owner: take, put, harvest) and from cache.c through spanset_put.c (other
 * threads: span_put_remote()). Depends on base.h, report.h and sizeclass.h only; takes no lock,
 * makes no system call. The slot states and who may touch what are in span.h.
 *
 * Invariants, checked by span_verify():
 *   S1  nfree is the number of ones in free;
 *   S2  bits at and beyond nslots are 0 in free and freed_remote;
 *   S3  no slot is both free and freed_remote;
 *   S4  words below `word` hold no free slot.
 */
#include "core/span.h"

void span_init(struct span *s, uintptr_t base, class_idx c, const struct sizeclass *geometry)
{
	s->base = base;
	s->recip = geometry->recip;
	s->slot_bytes = geometry->slot_bytes;
	s->npages = geometry->npages;
	s->nslots = geometry->nslots;
	s->nwords = geometry->nwords;
	s->class = c;
	s->nfree = geometry->nslots;
	s->nfree_trimmed = 0;
	s->trimmed = 0;
	s->word = 0;
	s->nmoved = 0;
	for (unsigned w = 0; w < SIZECLASS_MAX_WORDS; w++) {
		unsigned below = w * 64 < s->nslots ? s->nslots - w * 64 : 0;

		s->free[w] = bit_range(0, below);
		/* relaxed: an unused span has no news; nobody else knows the slots yet. */
		dcheck(!atomic_load_explicit(&s->freed_remote[w], memory_order_relaxed));
	}
}

/* Writes `n` addresses, `slot_bytes` apart. */
static void fill_strided(void **top, uintptr_t address, size_t slot_bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++, address += slot_bytes)
		*top-- = (void *)address;
}

/* Takes up to `want` of the ones in *bits; how many. */
static unsigned take_from_word(uint64_t *bits, uintptr_t base, size_t slot_bytes, void **top,
                               unsigned want)
{
	uint64_t left = *bits, lowest = left & -left;
	unsigned n = bit_count(left);

	if (n > want)
		n = want;
	if (!(left & (left + lowest))) {        /* one run of ones, as in a fresh span */
		unsigned first = bit_first(left);

		fill_strided(top, base + first * slot_bytes, slot_bytes, n);
		*bits = left & ~bit_range(first, n);
		return n;
	}
	for (unsigned i = 0; i < n; i++) {
		*top-- = (void *)(base + bit_first(left) * slot_bytes);
		left &= left - 1;
	}
	*bits = left;
	return n;
}

unsigned span_take(struct span *s, void **top, unsigned want)
{
	unsigned n = 0;

	if (want > s->nfree)
		want = s->nfree;
	while (n < want) {
		uintptr_t base = s->base + (size_t)s->word * 64 * s->slot_bytes;

		if (!s->free[s->word]) {
			s->word++;
			continue;
		}
		n += take_from_word(&s->free[s->word], base, s->slot_bytes, top - n, want - n);
	}
	s->nfree = (uint16_t)(s->nfree - n);
	return n;
}

int span_put_range(struct span *s, unsigned first, unsigned n)
{
	int twice = -1;

	s->word = 0;
	while (n) {
		uint64_t *word = &s->free[first / 64];
		unsigned from = first % 64, here = n < 64 - from ? n : 64 - from;
		uint64_t bits = bit_range(from, here), both = *word & bits;

		if (unlikely(both))
			twice = (int)(first - from + bit_first(both));
		s->nfree = (uint16_t)(s->nfree + here - (both ? bit_count(both) : 0));
		*word |= bits;
		first += here;
		n -= here;
	}
	return twice;
}

uint64_t span_put_remote(struct span *s, unsigned word, uint64_t bits)
{
	/* seq_cst: the callers' last stores into the objects come before their reuse (pairs with
	 * the exchange in span_harvest()); and before the look at has_news in spanset_put.c's
	 * notify(), the other variable. */
	uint64_t old = atomic_fetch_or_explicit(&s->freed_remote[word], bits,
	                                        memory_order_seq_cst);
	return old & bits;
}

void *span_harvest(struct span *s)
{
	void *twice = NULL;

	s->word = 0;
	for (unsigned w = 0; w < s->nwords; w++) {
		/* A peek, because an exchange takes the line even when it is empty. seq_cst: after
		 * has_news was cleared; see notify() in spanset_put.c. */
		if (!atomic_load_explicit(&s->freed_remote[w], memory_order_seq_cst))
			continue;
		/* acquire: pairs with the fetch_or in span_put_remote(). */
		uint64_t got = atomic_exchange_explicit(&s->freed_remote[w], 0,
		                                        memory_order_acquire);
		uint64_t both = got & s->free[w];

		if (unlikely(both))
			twice = span_slot_address(s, w * 64 + bit_first(both));
		s->nfree = (uint16_t)(s->nfree + bit_count(got & ~s->free[w]));
		s->free[w] |= got;
	}
	return twice;
}

bool span_has_remote(const struct span *s)
{
	/* All words: the record may be turning into another span's. */
	for (unsigned w = 0; w < SIZECLASS_MAX_WORDS; w++) {
		/* seq_cst: after has_news was cleared; see notify() in spanset_put.c. */
		if (atomic_load_explicit(&s->freed_remote[w], memory_order_seq_cst))
			return true;
	}
	return false;
}

void span_verify(const struct span *s)
{
	unsigned n = 0;

	for (unsigned w = 0; w < SIZECLASS_MAX_WORDS; w++) {
		unsigned below = w * 64 < s->nslots ? s->nslots - w * 64 : 0;
		/* relaxed: a bit may come meanwhile, none goes while the owner's lock is held. */
		uint64_t remote = atomic_load_explicit(&s->freed_remote[w], memory_order_relaxed);

		n += bit_count(s->free[w]);
		check(!((s->free[w] | remote) & ~bit_range(0, below)));         /* S2 */
		check(!(s->free[w] & remote));                                  /* S3 */
	}
	check(n == s->nfree);                                                   /* S1 */
	for (unsigned w = 0; w < s->word; w++)
		check(!s->free[w]);                                             /* S4 */
}
