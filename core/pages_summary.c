/* pages_summary.c: the tree over the page bitmaps: kept up to date, searched.
 *
 * Reached from pages.c only. Depends on base.h and report.h; takes no lock, makes no system call,
 * allocates nothing. An entry is touched only if a bit below it changed, and the way up ends
 * where a level stays as it was.
 *
 * Invariant P3 (pages.h) is checked by pages_summary_verify(), page by page for the leaves.
 */
#include "core/pages_summary.h"

#include <string.h>

/* Fan-out 8, and 4 below the root: a root entry spans 2^20 pages (8 GiB), the most that 21 bits
 * count without a special case; 1 TiB has 128 of them, which a search reads in a row. */
const uint8_t pages_summary_shift[PAGES_LEVELS] = { PAGES_CHUNK_SHIFT, 12, 15, 18, 20 };

#define ROOT (PAGES_LEVELS - 1)

/* log2 of the entries of `level` under one entry of the next. */
static unsigned fan_shift(unsigned level)
{
	return (unsigned)pages_summary_shift[level + 1] - pages_summary_shift[level];
}

/* Entries of `level`, in whole families, so that a parent can read all its children. */
static size_t level_entries(page_idx capacity, unsigned level)
{
	unsigned shift = level == ROOT ? pages_summary_shift[ROOT] : pages_summary_shift[level + 1];
	size_t parents = align_up(capacity, (size_t)1 << shift) >> shift;

	return level == ROOT ? parents : parents << fan_shift(level);
}

static size_t dirty_words(page_idx capacity)
{
	return align_up(capacity, (size_t)PAGES_CHUNK * 64) / PAGES_CHUNK / 64;
}

size_t pages_summary_bytes(page_idx capacity)
{
	size_t nwords = dirty_words(capacity);

	for (unsigned level = 0; level < PAGES_LEVELS; level++)
		nwords += level_entries(capacity, level);
	return nwords * sizeof(uint64_t);
}

void pages_summary_init(struct pages *p, void *memory)
{
	uint64_t *word = memory;

	for (unsigned level = 0; level < PAGES_LEVELS; level++) {
		p->level[level] = word;
		word += level_entries(p->capacity, level);
	}
	p->dirty_chunks = word;
}

/* Beyond the old capacity everything is 0, which is what the new entries are. */
void pages_summary_move(struct pages *p, void *memory, page_idx capacity)
{
	const struct pages old = *p;

	p->capacity = capacity;
	pages_summary_init(p, memory);
	for (unsigned level = 0; level < PAGES_LEVELS; level++)
		memcpy(p->level[level], old.level[level],
		       level_entries(old.capacity, level) * sizeof(uint64_t));
	memcpy(p->dirty_chunks, old.dirty_chunks, dirty_words(old.capacity) * sizeof(uint64_t));
}

/* The longest run inside `word`, if it is longer than `max`; else `max`. */
static unsigned longest_inside(uint64_t word, unsigned max)
{
	if (max >= 62)                          /* what touches an end is counted by the caller */
		return max;
	for (word = pages_word_runs(word, max + 1); word; word &= word >> 1)
		max++;
	return max;
}

static uint64_t summary_of_words(const uint64_t words[CHUNK_WORDS])
{
	unsigned start = 0, max = 0, run = 0;
	bool is_broken = false;                 /* a used page was seen */

	for (unsigned w = 0; w < CHUNK_WORDS; w++) {
		uint64_t word = words[w];

		run += bits_low(word);
		if (word == ~UINT64_C(0))
			continue;
		if (!is_broken)
			start = run;
		is_broken = true;
		max = longest_inside(word, run > max ? run : max);
		run = bits_high(word);
	}
	return summary_make(is_broken ? start : run, run > max ? run : max, run);
}

/* Joins `n` neighbours that span 1 << shift pages each. */
static uint64_t summary_join(const uint64_t *child, unsigned n, unsigned shift)
{
	page_idx span = (page_idx)1 << shift;
	page_idx start = 0, max = 0, run = 0;
	bool is_broken = false;

	for (unsigned i = 0; i < n; i++) {
		run += summary_start(child[i]);
		if (summary_start(child[i]) == span)
			continue;
		if (!is_broken)
			start = run;
		is_broken = true;
		max = run > max ? run : max;
		max = summary_max(child[i]) > max ? summary_max(child[i]) : max;
		run = summary_end(child[i]);
	}
	return summary_make(is_broken ? start : run, run > max ? run : max, run);
}

static bool set_entry(struct pages *p, unsigned level, page_idx i, uint64_t s)
{
	bool is_changed = p->level[level][i] != s;

	p->level[level][i] = s;
	return is_changed;
}

static uint64_t summary_of_children(const struct pages *p, unsigned level, page_idx i)
{
	unsigned shift = fan_shift(level - 1);

	return summary_join(&p->level[level - 1][i << shift], 1u << shift,
	                    pages_summary_shift[level - 1]);
}

static bool has_dirty(const struct pages_chunk *c)
{
	uint64_t dirty = 0;

	for (unsigned w = 0; w < CHUNK_WORDS; w++)
		dirty |= c->free[w] & ~c->clean[w] & ~c->lazy[w];
	return dirty != 0;
}

static bool update_leaf(struct pages *p, page_idx chunk)
{
	uint64_t bit = UINT64_C(1) << chunk % 64;

	if (has_dirty(&p->chunks[chunk]))
		p->dirty_chunks[chunk / 64] |= bit;
	else
		p->dirty_chunks[chunk / 64] &= ~bit;
	return set_entry(p, 0, chunk, summary_of_words(p->chunks[chunk].free));
}

void pages_summary_update(struct pages *p, page_idx chunk, page_idx chunk_limit)
{
	page_idx base = chunk, last = chunk_limit - 1;
	bool is_changed = false;

	for (page_idx i = base; i <= last; i++)
		is_changed |= update_leaf(p, i);
	for (unsigned level = 1; is_changed && level < PAGES_LEVELS; level++) {
		is_changed = false;
		base >>= fan_shift(level - 1);
		last >>= fan_shift(level - 1);
		for (page_idx i = base; i <= last; i++)
			is_changed |= set_entry(p, level, i, summary_of_children(p, level, i));
	}
}

/* The lowest run of `npages` at or after bit `from`, or PAGES_CHUNK. */
static page_idx find_in_words(const uint64_t words[CHUNK_WORDS], unsigned from, page_idx npages)
{
	page_idx run = 0;                       /* ones right before the word */
	uint64_t mask = ~UINT64_C(0) << from % 64;

	for (unsigned w = from / 64; w < CHUNK_WORDS; w++, mask = ~UINT64_C(0)) {
		uint64_t word = words[w] & mask;
		uint64_t inside = npages <= 64 ? pages_word_runs(word, npages) : 0;

		if (run + bits_low(word) >= npages)
			return w * 64 - run;
		if (inside)
			return w * 64 + bit_first(inside);
		run = ~word ? bits_high(word) : run + 64;
	}
	return PAGES_CHUNK;
}

/* A search on its way right: entry i of `level` is next, `run` free pages lie right before it. */
struct walk {
	page_idx npages;
	page_idx run;
	page_idx i;
	unsigned level;
};

enum walk_found { WALK_NOTHING, WALK_RUN_REACHES, WALK_RUN_INSIDE };

/* Passes the next entry, or says how the run that is looked for lies to it. */
static enum walk_found walk_step(const struct pages *p, struct walk *k)
{
	uint64_t s = p->level[k->level][k->i];

	if (k->run + summary_start(s) >= k->npages)
		return WALK_RUN_REACHES;
	if (summary_max(s) >= k->npages)
		return WALK_RUN_INSIDE;
	if (summary_start(s) == (page_idx)1 << pages_summary_shift[k->level])
		k->run += summary_start(s);
	else
		k->run = summary_end(s);
	k->i++;
	return WALK_NOTHING;
}

static page_idx walk_page(const struct walk *k)
{
	return k->i << pages_summary_shift[k->level];
}

/* Goes right, and up wherever a family begins, until an entry has the run or the heap ends. */
static enum walk_found walk_up(const struct pages *p, struct walk *k)
{
	enum walk_found found = WALK_NOTHING;

	while (found == WALK_NOTHING) {
		while (k->level < ROOT && k->i % (1u << fan_shift(k->level)) == 0) {
			k->i >>= fan_shift(k->level);
			k->level++;
		}
		if (walk_page(k) >= p->npages)
			break;
		found = walk_step(p, k);
	}
	return found;
}

/* The entry has the run inside: goes to the child that the run ends in, down to a chunk. */
static enum walk_found walk_down(const struct pages *p, struct walk *k)
{
	enum walk_found found = WALK_RUN_INSIDE;

	while (found == WALK_RUN_INSIDE && k->level > 0) {
		k->level--;
		k->i <<= fan_shift(k->level);
		do
			found = walk_step(p, k);
		while (found == WALK_NOTHING);
	}
	return found;
}

page_idx pages_summary_find(const struct pages *p, page_idx from, page_idx npages)
{
	if (from >= p->npages || npages > p->npages - from)
		return PAGE_NONE;

	page_idx chunk = from / PAGES_CHUNK;
	unsigned bit = from % PAGES_CHUNK;
	uint64_t leaf = p->level[0][chunk];

	if (summary_max(leaf) >= npages) {
		page_idx at = find_in_words(p->chunks[chunk].free, bit, npages);

		if (at < PAGES_CHUNK)
			return chunk * PAGES_CHUNK + at;
	}

	page_idx rest = PAGES_CHUNK - bit;
	struct walk k = {
		.npages = npages,
		.run = summary_end(leaf) < rest ? summary_end(leaf) : rest,
		.i = chunk + 1,
	};
	enum walk_found found = walk_up(p, &k);

	if (found == WALK_RUN_INSIDE)
		found = walk_down(p, &k);
	if (found == WALK_NOTHING)
		return PAGE_NONE;
	if (found == WALK_RUN_REACHES)
		return walk_page(&k) - k.run;
	return walk_page(&k) + find_in_words(p->chunks[k.i].free, 0, npages);
}

/* The slow, plain way to the same summary. */
static uint64_t summary_by_page(const struct pages_chunk *c)
{
	page_idx start = 0, max = 0, run = 0;

	for (unsigned i = 0; i < PAGES_CHUNK; i++) {
		run = c->free[i / 64] >> i % 64 & 1 ? run + 1 : 0;
		max = run > max ? run : max;
		start = run == i + 1 ? run : start;
	}
	return summary_make(start, max, run);
}

void pages_summary_verify(const struct pages *p)
{
	page_idx nchunks = (p->npages + PAGES_CHUNK - 1) / PAGES_CHUNK;

	for (page_idx i = 0; i < level_entries(p->capacity, 0); i++)
		check(p->level[0][i] == (i < nchunks ? summary_by_page(&p->chunks[i]) : 0));
	for (unsigned level = 1; level < PAGES_LEVELS; level++) {
		page_idx nparents = (page_idx)(level_entries(p->capacity, level - 1) >>
		                               fan_shift(level - 1));

		for (page_idx i = 0; i < nparents; i++)
			check(p->level[level][i] == summary_of_children(p, level, i));
	}
}
