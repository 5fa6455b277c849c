/* pages.c: which pages of the heap are free: taking, freeing, caches, ages.
 *
 * Reached from heap.c (spans and large objects), cache.c (a thread's pages_cache) and scavenge.c
 * (pages_take_dirty). Depends on pages_summary.h, base.h and report.h; takes no lock, makes no
 * system call. Every change of a bitmap goes through take_word() or put_word(), which keep P1
 * and the counts, and is followed by pages_summary_update().
 *
 * Invariants P1 to P4 are in pages.h, checked by pages_verify().
 */
#include "core/pages_summary.h"

#include <string.h>

/* Chunks with dirty pages that pages_take_dirty() looks at before it pauses: at most 0.1 ms. */
#define DIRTY_CHUNKS_A_CALL 1024

size_t pages_chunk_bytes(void)
{
	return sizeof(struct pages_chunk);
}

void pages_init(struct pages *p, struct pages_chunk *chunks, void *summary, page_idx capacity)
{
	/* Twice the capacity still is a page_idx, so that no sum of two indices wraps. */
	check(capacity <= UINT32_C(1) << 30);
	*p = (struct pages){ .chunks = chunks, .capacity = capacity };
	pages_summary_init(p, summary);
}

void pages_move(struct pages *p, struct pages_chunk *chunks, void *summary, page_idx capacity)
{
	check(capacity >= p->capacity && capacity <= UINT32_C(1) << 30);
	memcpy(chunks, p->chunks, (p->npages + PAGES_CHUNK - 1) / PAGES_CHUNK * sizeof *chunks);
	p->chunks = chunks;
	pages_summary_move(p, summary, capacity);
}

/* --- words --- */

/* The part of [at, limit) that lies in the bitmap word of page `at`. */
static uint64_t word_mask(page_idx at, page_idx limit)
{
	page_idx npages = limit - at;
	unsigned bit = at % 64;

	return bit_range(bit, npages < 64 - bit ? npages : 64 - bit);
}

static page_idx word_after(page_idx at)
{
	return (at | 63) + 1;
}

static struct pages_chunk *chunk_of(const struct pages *p, page_idx at)
{
	return &p->chunks[at / PAGES_CHUNK];
}

static unsigned word_of(page_idx at)
{
	return at % PAGES_CHUNK / 64;
}

static uint64_t dirty_in_word(const struct pages_chunk *c, unsigned w)
{
	return c->free[w] & ~c->clean[w] & ~c->lazy[w];
}

/* Pages of the word at `at` become used; they were free. */
static void take_word(struct pages *p, page_idx at, uint64_t mask, struct pages_mix *mix)
{
	struct pages_chunk *c = chunk_of(p, at);
	unsigned w = word_of(at);
	unsigned nclean = bit_count(c->clean[w] & mask);
	unsigned nlazy = bit_count(c->lazy[w] & mask);
	unsigned nfresh = bit_count(c->fresh[w] & mask);

	dcheck((c->free[w] & mask) == mask);
	c->free[w] &= ~mask;
	c->clean[w] &= ~mask;
	c->lazy[w] &= ~mask;
	c->fresh[w] &= ~mask;
	p->nfree -= bit_count(mask);
	p->nclean -= nclean;
	p->nlazy -= nlazy;
	p->nfresh -= nfresh;
	mix->nclean += nclean;
	mix->nlazy += nlazy;
	mix->nfresh += nfresh;
}

/* Pages of the word at `at` become free; `clean` and `lazy` are disjoint parts of `mask`, `fresh` is
 * a part of `clean`. */
static void put_word(struct pages *p, page_idx at, uint64_t mask, uint64_t clean, uint64_t lazy,
                     uint64_t fresh)
{
	struct pages_chunk *c = chunk_of(p, at);
	unsigned w = word_of(at);

	check(!(c->free[w] & mask));
	c->free[w] |= mask;
	c->clean[w] |= clean;
	c->lazy[w] |= lazy;
	c->fresh[w] |= fresh;
	p->nfree += bit_count(mask);
	p->nclean += bit_count(clean);
	p->nlazy += bit_count(lazy);
	p->nfresh += bit_count(fresh);
}

/* --- runs --- */

static void update(struct pages *p, page_idx first, page_idx limit)
{
	pages_summary_update(p, first / PAGES_CHUNK, (limit - 1) / PAGES_CHUNK + 1);
}

static void take_run(struct pages *p, page_idx first, page_idx npages, struct pages_mix *mix)
{
	page_idx limit = first + npages;

	*mix = (struct pages_mix){ 0 };
	for (page_idx at = first; at < limit; at = word_after(at))
		take_word(p, at, word_mask(at, limit), mix);
	if (first == p->hint)
		p->hint = limit;
	update(p, first, limit);
}

static void put_run(struct pages *p, page_idx first, page_idx npages, enum pages_kind kind)
{
	page_idx limit = first + npages;
	bool is_clean = kind == PAGES_CLEAN || kind == PAGES_FRESH;

	for (page_idx at = first; at < limit; at = word_after(at)) {
		uint64_t mask = word_mask(at, limit);

		put_word(p, at, mask, is_clean ? mask : 0, kind == PAGES_LAZY ? mask : 0,
		         kind == PAGES_FRESH ? mask : 0);
	}
	if (first < p->hint)
		p->hint = first;
	update(p, first, limit);
}

static bool is_inside(const struct pages *p, page_idx first, page_idx npages)
{
	return npages && first < p->npages && npages <= p->npages - first;
}

static bool is_run_free(const struct pages *p, page_idx first, page_idx npages)
{
	page_idx limit = first + npages;

	for (page_idx at = first; at < limit; at = word_after(at)) {
		uint64_t mask = word_mask(at, limit);

		if ((chunk_of(p, at)->free[word_of(at)] & mask) != mask)
			return false;
	}
	return true;
}

void pages_grow(struct pages *p, page_idx npages)
{
	page_idx first = p->npages;

	check(npages && npages % PAGES_GROW == 0 && npages <= p->capacity - first);
	p->npages += npages;
	put_run(p, first, npages, PAGES_FRESH);
}

static void count_reused(struct pages *p, const struct pages_mix *mix)
{
	p->nreused += mix->nclean - mix->nfresh + mix->nlazy;
}

bool pages_take(struct pages *p, page_idx first, page_idx npages, struct pages_mix *mix)
{
	if (!is_inside(p, first, npages) || !is_run_free(p, first, npages))
		return false;
	take_run(p, first, npages, mix);
	count_reused(p, mix);
	return true;
}

void pages_free(struct pages *p, page_idx first, page_idx npages, enum pages_kind kind,
                uint32_t now)
{
	check(is_inside(p, first, npages));
	put_run(p, first, npages, kind);
	if (kind != PAGES_DIRTY)
		return;
	for (page_idx at = first; at < first + npages; at = word_after(at))
		chunk_of(p, at)->freed_at[word_of(at)] = now;
}

page_idx pages_tail_free(const struct pages *p)
{
	page_idx at = p->npages;

	/* Whole words first: the last chunk may be cut by the heap's end. */
	while (at % PAGES_CHUNK) {
		unsigned n = bits_high(chunk_of(p, at - 1)->free[word_of(at - 1)]);

		at -= n;
		if (n < 64)
			return p->npages - at;
	}
	for (unsigned level = 0; at > 0;) {
		unsigned shift = pages_summary_shift[level];

		if (level + 1 < PAGES_LEVELS && at % (1u << pages_summary_shift[level + 1]) == 0) {
			level++;
			continue;
		}

		page_idx n = summary_end(p->level[level][(at >> shift) - 1]);

		at -= n;
		if (n < 1u << shift)
			break;
	}
	return p->npages - at;
}

/* --- search --- */

/* Where a run may begin: at a multiple of `align`, and, if there is a `boundary`, so that it
 * crosses no multiple of that. */
struct fit {
	page_idx npages;
	page_idx align;
	page_idx boundary;
};

/* The lowest address at or after `at` where the run may begin. */
static page_idx fit_next(const struct fit *f, page_idx at)
{
	if (f->boundary && at % f->boundary + f->npages > f->boundary)
		at = (page_idx)align_up(at, f->boundary);
	return (page_idx)align_up(at, f->align);
}

/* A run of so many pages has a place for the fit, wherever it begins. */
static page_idx fit_sure(const struct fit *f)
{
	return f->npages + (f->boundary ? f->npages : f->align) - 1;
}

static bool is_free(const struct pages *p, page_idx at)
{
	return chunk_of(p, at)->free[word_of(at)] >> at % 64 & 1;
}

static page_idx find_fit(struct pages *p, const struct fit *f)
{
	if (f->npages > p->nfree)
		return PAGE_NONE;
	/* Something is free, and nothing below the hint: make it the first free page. */
	if (!is_free(p, p->hint))
		p->hint = pages_summary_find(p, p->hint, 1);

	page_idx from = p->hint, at;

	for (unsigned ntries = 0;; ntries++) {
		at = pages_summary_find(p, from, f->npages);
		if (at == PAGE_NONE || fit_next(f, at) == at)
			return at;
		from = fit_next(f, at);
		if (ntries != PAGES_TRIES)
			continue;
		at = pages_summary_find(p, from, fit_sure(f));
		if (at != PAGE_NONE)
			return fit_next(f, at);
		if (f->boundary)
			return PAGE_NONE;
	}
}

page_idx pages_alloc(struct pages *p, page_idx npages, page_idx align_pages,
                     struct pages_mix *mix)
{
	struct fit f = { .npages = npages, .align = align_pages };

	check(npages && is_power_of_two(align_pages));

	page_idx first = find_fit(p, &f);

	if (first != PAGE_NONE) {
		take_run(p, first, npages, mix);
		count_reused(p, mix);
	}
	return first;
}

/* --- caches --- */

bool pages_cache_claim(struct pages *p, struct pages_cache *cache, unsigned wanted)
{
	struct fit f = { .npages = wanted, .align = 1, .boundary = PAGES_GROUP };
	struct pages_mix mix = { 0 };

	check(!cache->is_claimed && wanted >= 1 && wanted <= PAGES_GROUP);

	page_idx at = find_fit(p, &f);

	if (at == PAGE_NONE)
		return false;

	const struct pages_chunk *c = chunk_of(p, at);
	unsigned w = word_of(at);

	*cache = (struct pages_cache){
		.free = c->free[w],
		.clean = c->clean[w],
		.lazy = c->lazy[w],
		.fresh = c->fresh[w],
		.given_back = (c->clean[w] & ~c->fresh[w]) | c->lazy[w],
		.first = (page_idx)align_down(at, PAGES_GROUP),
		.is_claimed = true,
	};
	take_word(p, at, cache->free, &mix);
	update(p, at, at + 1);
	return true;
}

void pages_cache_return(struct pages *p, struct pages_cache *cache, uint32_t now)
{
	page_idx first = cache->first;

	p->nreused += bit_count(cache->given_back & ~(cache->clean | cache->lazy));
	if (cache->free) {
		put_word(p, first, cache->free, cache->clean, cache->lazy,
		         cache->fresh & cache->clean);
		if (cache->has_freed)
			chunk_of(p, first)->freed_at[word_of(first)] = now;
		if (first < p->hint)
			p->hint = first;
		update(p, first, first + 1);
	}
	*cache = (struct pages_cache){ 0 };
}

/* --- dirty pages by age --- */

/* What pages_take_dirty() looks for. */
struct harvest {
	uint32_t cutoff;
	bool     want_huge;
};

/* Dirty free pages of the word at `at`, if their age will do. */
static uint64_t old_dirty(const struct pages *p, page_idx at, uint32_t cutoff)
{
	const struct pages_chunk *c = chunk_of(p, at);
	unsigned w = word_of(at);

	/* The difference, since ticks wrap. */
	return (int32_t)(c->freed_at[w] - cutoff) < 0 ? dirty_in_word(c, w) : 0;
}

/* Pages of the word at `at` that may be taken. */
static uint64_t ripe(const struct pages *p, page_idx at, const struct harvest *h)
{
	uint64_t all = ~UINT64_C(0);

	if (!h->want_huge)
		return old_dirty(p, at, h->cutoff);
	at = (page_idx)align_down(at, PAGES_HUGE);
	for (page_idx i = 0; i < PAGES_HUGE && all; i += 64)
		all &= old_dirty(p, at + i, h->cutoff);
	return ~all ? 0 : all;
}

/* The end of the highest chunk below `limit` that has dirty pages, at most `limit`; 0: none. */
static page_idx dirty_chunk_below(const struct pages *p, page_idx limit)
{
	page_idx chunk = (limit - 1) / PAGES_CHUNK;
	uint64_t mask = bit_range(0, chunk % 64 + 1);

	for (page_idx w = chunk / 64 + 1; w-- > 0; mask = ~UINT64_C(0)) {
		uint64_t word = p->dirty_chunks[w] & mask;

		if (word) {
			page_idx n = w * 64 + 64 - (page_idx)__builtin_clzll(word);

			return n * PAGES_CHUNK < limit ? n * PAGES_CHUNK : limit;
		}
	}
	return 0;
}

/* Lowers *limit to the end of the highest ripe run in the chunk of page *limit - 1. False: the
 * chunk has none below, and *limit is its first page. */
static bool ripe_in_chunk(const struct pages *p, page_idx *limit, const struct harvest *h)
{
	do {
		page_idx at = *limit - 1;
		uint64_t bits = ripe(p, at, h) & bit_range(0, at % 64 + 1);

		*limit = (page_idx)align_down(at, 64);
		if (bits) {
			*limit += 64 - (page_idx)__builtin_clzll(bits);
			return true;
		}
	} while (*limit % PAGES_CHUNK);
	return false;
}

/* The number of ripe pages in a row that end at `limit`, up to `max`. */
static page_idx ripe_run(const struct pages *p, page_idx limit, page_idx max,
                         const struct harvest *h)
{
	page_idx base = limit;

	while (base > 0 && limit - base < max) {
		unsigned bit = (base - 1) % 64;
		unsigned n = bits_high(ripe(p, base - 1, h) << (63 - bit));

		base -= n;
		if (n <= bit)
			break;
	}
	return limit - base < max ? limit - base : max;
}

page_idx pages_take_dirty(struct pages *p, uint32_t cutoff, page_idx max_pages, bool want_huge,
                          page_idx *cursor, page_idx *npages)
{
	struct harvest h = { .cutoff = cutoff, .want_huge = want_huge };
	page_idx unit = want_huge ? PAGES_HUGE : 1;
	page_idx limit = *cursor < p->npages ? *cursor : p->npages;
	struct pages_mix mix;
	bool is_found = false;

	check(max_pages >= unit);
	limit = (page_idx)align_down(limit, unit);
	for (unsigned n = 0; n < DIRTY_CHUNKS_A_CALL && limit && !is_found; n++) {
		limit = dirty_chunk_below(p, limit);
		is_found = limit && ripe_in_chunk(p, &limit, &h);
	}
	*npages = is_found ? ripe_run(p, limit, (page_idx)align_down(max_pages, unit), &h) : 0;
	*cursor = limit - *npages;
	if (!is_found)
		return PAGE_NONE;
	take_run(p, *cursor, *npages, &mix);
	return *cursor;
}

page_idx pages_dirty_aged(const struct pages *p, uint32_t cutoff)
{
	page_idx n = 0;

	for (page_idx limit = p->npages; limit && (limit = dirty_chunk_below(p, limit));) {
		page_idx base = (page_idx)align_down(limit - 1, PAGES_CHUNK);

		for (page_idx at = base; at < limit; at += 64)
			n += bit_count(old_dirty(p, at, cutoff));
		limit = base;
	}
	return n;
}

/* --- checks --- */

static void verify_chunk(const struct pages *p, page_idx chunk, struct pages *sum)
{
	const struct pages_chunk *c = &p->chunks[chunk];
	bool has_dirty = false;

	for (unsigned w = 0; w < CHUNK_WORDS; w++) {
		page_idx at = chunk * PAGES_CHUNK + w * 64;

		check(!((c->clean[w] | c->lazy[w]) & ~c->free[w]) && !(c->clean[w] & c->lazy[w]));
		check(!(c->fresh[w] & ~c->clean[w]));
		check(at < p->npages || !c->free[w]);
		check(!c->free[w] || at + bit_first(c->free[w]) >= p->hint);
		sum->nfree += bit_count(c->free[w]);
		sum->nclean += bit_count(c->clean[w]);
		sum->nlazy += bit_count(c->lazy[w]);
		sum->nfresh += bit_count(c->fresh[w]);
		has_dirty |= dirty_in_word(c, w) != 0;
	}
	check((p->dirty_chunks[chunk / 64] >> chunk % 64 & 1) == has_dirty);
}

void pages_verify(const struct pages *p)
{
	struct pages sum = { 0 };

	check(p->npages <= p->capacity && p->npages % PAGES_GROW == 0 && p->hint <= p->npages);
	for (page_idx i = 0; i * PAGES_CHUNK < p->npages; i++)
		verify_chunk(p, i, &sum);
	check(sum.nfree == p->nfree && sum.nclean == p->nclean && sum.nlazy == p->nlazy);
	check(sum.nfresh == p->nfresh);
	pages_summary_verify(p);
}
