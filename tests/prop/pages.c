/* pages.c: random histories of the page level against one byte a page.
 *
 * The model scans its bytes from one end to the other for every question, so there is nothing in
 * it to be wrong but the loops. Capacities reach over every level of the tree. A failing history
 * is repeated with the seed it printed: SEED=n.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

#include "core/pages.h"
#include "tests/check.h"

#define NCACHES 3
#define MAX_LIVE 4096
#define SURE_TRIES 200                          /* below what a search gives up after */

enum state { USED, DIRTY, CLEAN, LAZY };

struct run {
	page_idx first, npages;
};

/* What is tested, and beside it the model. */
static struct pages p;
static struct pages_cache cache[NCACHES];

static uint8_t *state;                          /* of each page; cached pages are USED here */
static uint32_t *freed_at;                      /* of each group of 64 */
static uint8_t cached[NCACHES][64];
static bool claimed[NCACHES], freed_into[NCACHES];
static struct run live[MAX_LIVE];
static unsigned nlive;
static uint32_t now;
static uint64_t rng;

static page_idx random_below(page_idx n)
{
	return (page_idx)(next_random(&rng) >> 16) % n;
}

/* Mostly small, sometimes anything up to the heap. */
static page_idx random_length(void)
{
	unsigned shift = random_below(6) ? random_below(7) : random_below(22);

	return 1 + random_below((page_idx)1 << shift);
}

static void *zeroed(size_t nbytes)
{
	nbytes = align_up(nbytes, CACHE_LINE);
	return memset(aligned_alloc(CACHE_LINE, nbytes), 0, nbytes);
}

static void start(page_idx capacity)
{
	rng = seed_from_env();
	now = (uint32_t)next_random(&rng);          /* ticks wrap: begin anywhere */
	state = zeroed(capacity);
	freed_at = zeroed((capacity / 64 + 1) * sizeof *freed_at);
	pages_init(&p, zeroed((capacity / PAGES_CHUNK + 1) * pages_chunk_bytes()),
	           zeroed(pages_summary_bytes(capacity)), capacity);
}

/* --- the model's answers --- */

static bool model_is_free(page_idx first, page_idx npages)
{
	if (first >= p.npages || npages > p.npages - first)
		return false;
	for (page_idx i = 0; i < npages; i++)
		if (state[first + i] == USED)
			return false;
	return true;
}

/* The lowest fit, or PAGE_NONE; and how many free runs were passed on the way. */
static page_idx model_fit(page_idx npages, page_idx align, unsigned *nruns)
{
	page_idx run = 0;

	*nruns = 0;
	for (page_idx at = 0; at < p.npages; at++) {
		run = state[at] == USED ? 0 : run + 1;
		*nruns += run == 1;

		page_idx first = (page_idx)align_up(at + 1 - run, align);

		if (run && first + npages <= at + 1)
			return first;
	}
	return PAGE_NONE;
}

static unsigned model_longest_in_group(page_idx first)
{
	unsigned run = 0, max = 0;

	for (unsigned i = 0; i < 64; i++) {
		run = state[first + i] == USED ? 0 : run + 1;
		max = run > max ? run : max;
	}
	return max;
}

static bool model_is_old(page_idx at, uint32_t cutoff)
{
	return state[at] == DIRTY && (int32_t)(freed_at[at / 64] - cutoff) < 0;
}

static bool model_is_ripe(page_idx at, uint32_t cutoff, bool want_huge)
{
	page_idx base = want_huge ? (page_idx)align_down(at, PAGES_HUGE) : at;
	page_idx limit = want_huge ? base + (page_idx)PAGES_HUGE : at + 1;

	for (page_idx i = base; i < limit; i++)
		if (i >= p.npages || !model_is_old(i, cutoff))
			return false;
	return true;
}

static page_idx model_count(enum state which)
{
	page_idx n = 0;

	for (page_idx i = 0; i < p.npages; i++)
		n += state[i] == which;
	return n;
}

/* Pages [first, first + npages) become used: is the mix what the model has there? */
static void model_take(const uint8_t *from, page_idx npages, const struct pages_mix *mix)
{
	page_idx nclean = 0, nlazy = 0;

	for (page_idx i = 0; i < npages; i++) {
		nclean += from[i] == CLEAN;
		nlazy += from[i] == LAZY;
	}
	cr_assert_eq(mix->nclean, nclean);
	cr_assert_eq(mix->nlazy, nlazy);
}

static void remember(page_idx first, page_idx npages)
{
	if (nlive < MAX_LIVE)                   /* what is forgotten stays used for good */
		live[nlive++] = (struct run){ first, npages };
}

static struct run forget(unsigned i)
{
	struct run r = live[i];

	live[i] = live[--nlive];
	return r;
}

static void model_put(page_idx first, page_idx npages, enum state kind)
{
	memset(state + first, kind, npages);
	if (kind == DIRTY)
		for (page_idx g = first / 64; g <= (first + npages - 1) / 64; g++)
			freed_at[g] = now;
}

/* --- steps --- */

static void step_grow(void)
{
	page_idx room = (p.capacity - p.npages) / PAGES_GROW, first = p.npages;

	if (!room)
		return;

	page_idx npages = (1 + random_below(room)) * PAGES_GROW;

	pages_grow(&p, npages);
	cr_assert_eq(p.npages, first + npages);
	memset(state + first, CLEAN, npages);
}

static void step_alloc(void)
{
	page_idx npages = random_length();
	page_idx align = (page_idx)1 << (random_below(3) ? 0 : random_below(12));
	struct pages_mix mix;
	unsigned nruns;
	page_idx want = model_fit(npages, align, &nruns);
	page_idx got = pages_alloc(&p, npages, align, &mix);

	if (align == 1 || nruns < SURE_TRIES || want == PAGE_NONE)
		cr_assert_eq(got, want, "%u pages by %u: %u, not %u", npages, align, got, want);
	if (got == PAGE_NONE)
		return;
	cr_assert(got % align == 0 && model_is_free(got, npages));
	model_take(state + got, npages, &mix);
	memset(state + got, USED, npages);
	remember(got, npages);
}

static void step_take(void)
{
	page_idx npages = random_length(), first = random_below(p.capacity);
	struct pages_mix mix;

	if (nlive && random_below(2)) {         /* growth in place */
		struct run *r = &live[random_below(nlive)];
		first = r->first + r->npages;
	}

	bool is_free = model_is_free(first, npages);

	cr_assert_eq(pages_take(&p, first, npages, &mix), is_free);
	if (!is_free)
		return;
	model_take(state + first, npages, &mix);
	memset(state + first, USED, npages);
	remember(first, npages);
}

/* Frees a live run, or only its tail. */
static void step_free(void)
{
	if (!nlive)
		return;

	struct run r = forget(random_below(nlive));
	enum state kind = random_below(3) ? DIRTY : random_below(2) ? CLEAN : LAZY;
	page_idx keep = random_below(4) ? 0 : random_below(r.npages);

	if (keep)
		remember(r.first, keep);
	pages_free(&p, r.first + keep, r.npages - keep,
	           kind == DIRTY ? PAGES_DIRTY : kind == CLEAN ? PAGES_CLEAN : PAGES_LAZY, now);
	model_put(r.first + keep, r.npages - keep, kind);
}

static void step_claim(unsigned i)
{
	unsigned wanted = random_below(4) ? 1 + random_below(8) : 1 + random_below(64);
	page_idx group = 0;

	if (claimed[i])
		return;
	while (group < p.npages && model_longest_in_group(group) < wanted)
		group += 64;

	bool got = pages_cache_claim(&p, &cache[i], wanted);

	/* A search may give up, or go higher, in a heap full of runs cut by group borders. */
	if (!got)
		cr_assert(group >= p.npages || group / 64 >= SURE_TRIES);
	if (!got)
		return;
	if (group / 64 < SURE_TRIES)
		cr_assert_eq(cache[i].first, group);
	group = cache[i].first;
	cr_assert_geq(model_longest_in_group(group), wanted);
	memcpy(cached[i], state + group, 64);
	memset(state + group, USED, 64);
	claimed[i] = true;
	freed_into[i] = false;
}

static void step_return(unsigned i)
{
	page_idx first = cache[i].first;
	bool is_any_free = false;

	pages_cache_return(&p, &cache[i], now);
	for (unsigned b = 0; claimed[i] && b < 64; b++)
		if (cached[i][b] != USED) {
			cr_assert_eq(state[first + b], USED);
			state[first + b] = cached[i][b];
			is_any_free = true;
		}
	if (claimed[i] && freed_into[i] && is_any_free)
		freed_at[first / 64] = now;
	claimed[i] = false;
	cr_assert(!cache[i].is_claimed && !cache[i].free && !cache[i].clean && !cache[i].lazy);
}

static void step_cache_alloc(unsigned i)
{
	page_idx npages = random_below(8) ? 1 + random_below(6) : 1 + random_below(70);
	unsigned run = 0, want = 64;
	struct pages_mix mix;

	for (unsigned b = 0; claimed[i] && b < 64 && want == 64; b++) {
		run = cached[i][b] == USED ? 0 : run + 1;
		want = run == npages ? b + 1 - npages : 64;
	}

	page_idx got = pages_cache_alloc(&cache[i], npages, &mix);

	cr_assert_eq(got, want == 64 ? PAGE_NONE : cache[i].first + want);
	if (got == PAGE_NONE)
		return;
	model_take(cached[i] + want, npages, &mix);
	memset(cached[i] + want, USED, npages);
	remember(got, npages);
}

static void step_cache_free(unsigned i)
{
	if (!nlive)
		return;

	unsigned which = random_below(nlive);

	/* Rather one of its own pages than any. */
	for (unsigned n = 0; claimed[i] && n < nlive; n++) {
		if (live[which].first / 64 == cache[i].first / 64)
			break;
		which = (which + 1) % nlive;
	}

	struct run r = live[which];
	bool is_ours = claimed[i] && r.first / 64 == cache[i].first / 64 &&
	               (r.first + r.npages - 1) / 64 == cache[i].first / 64;

	cr_assert_eq(pages_cache_free(&cache[i], r.first, r.npages), is_ours);
	if (!is_ours)
		return;
	forget(which);
	memset(cached[i] + r.first % 64, DIRTY, r.npages);
	freed_into[i] = true;
}

/* One walk over the heap, each run given back as clean or lazy at once or kept for a while. */
static void step_scavenge(void)
{
	bool want_huge = random_below(2);
	page_idx max = (want_huge ? (page_idx)PAGES_HUGE : 1) + random_length();
	page_idx cursor = random_below(4) ? PAGE_NONE : random_below(p.capacity), npages;
	uint32_t cutoff = now + 1 - random_below(200);
	page_idx limit = cursor < p.npages ? cursor : p.npages;

	max = want_huge ? (page_idx)align_down(max, PAGES_HUGE) : max;
	limit = want_huge ? (page_idx)align_down(limit, PAGES_HUGE) : limit;
	for (unsigned n = 0; n < 20 && cursor; n++) {
		page_idx got = pages_take_dirty(&p, cutoff, max, want_huge, &cursor, &npages);
		page_idx base;

		if (got == PAGE_NONE && cursor)
			continue;
		while (limit > 0 && !model_is_ripe(limit - 1, cutoff, want_huge))
			limit--;
		for (base = limit; base > 0 && limit - base < max &&
		                   model_is_ripe(base - 1, cutoff, want_huge);)
			base--;
		cr_assert_eq(npages, limit - base);
		cr_assert_eq(got, npages ? base : PAGE_NONE);
		cr_assert_eq(cursor, base);
		if (got == PAGE_NONE)
			return;
		model_put(got, npages, USED);
		if (random_below(4)) {
			bool is_clean = random_below(2);

			pages_free(&p, got, npages, is_clean ? PAGES_CLEAN : PAGES_LAZY, now);
			model_put(got, npages, is_clean ? CLEAN : LAZY);
		} else {
			remember(got, npages);
		}
		limit = base;
	}
}

static void compare(void)
{
	uint32_t cutoff = now + 1 - random_below(200);
	page_idx naged = 0, ntail = 0;

	for (page_idx i = 0; i < p.npages; i++)
		naged += model_is_old(i, cutoff);
	while (ntail < p.npages && state[p.npages - 1 - ntail] != USED)
		ntail++;
	cr_assert_eq(pages_dirty_aged(&p, cutoff), naged);
	cr_assert_eq(pages_tail_free(&p), ntail);
	cr_assert_eq(p.nfree, p.npages - model_count(USED));
	cr_assert_eq(p.nclean, model_count(CLEAN));
	cr_assert_eq(p.nlazy, model_count(LAZY));
	pages_verify(&p);
}

static void step(void)
{
	unsigned i = random_below(NCACHES);

	now += random_below(10);
	switch (random_below(32)) {
	case 0:
		step_grow();
		break;
	case 1: case 2:
		step_take();
		break;
	case 3:
		step_scavenge();
		break;
	case 4:
		step_claim(i);
		break;
	case 5:
		if (!random_below(4))
			step_return(i);
		break;
	case 6: case 7: case 8: case 9:
		step_cache_alloc(i);
		break;
	case 10: case 11: case 12:
		step_cache_free(i);
		break;
	case 13: case 14: case 15: case 16: case 17: case 18: case 19: case 20: case 21: case 22:
		step_free();
		break;
	default:
		step_alloc();
		break;
	}
}

struct history {
	page_idx capacity;
	unsigned nsteps, nsteps_a_compare;
};

ParameterizedTestParameters(pages, agrees_with_a_byte_a_page)
{
	static struct history histories[] = {
		{ PAGES_GROW, 3000, 3 },
		{ PAGES_CHUNK, 5000, 5 },
		{ 5 * PAGES_CHUNK + PAGES_GROW, 5000, 10 },
		{ 40000, 3000, 30 },
		{ 300000, 1500, 50 },
		{ (2u << 20) + 12345, 400, 50 },
	};
	return cr_make_param_array(struct history, histories, sizeof histories / sizeof *histories);
}

ParameterizedTest(struct history *h, pages, agrees_with_a_byte_a_page)
{
	start(h->capacity);
	step_grow();
	for (unsigned i = 1; i <= h->nsteps; i++) {
		step();
		if (i % h->nsteps_a_compare == 0)
			compare();
	}
	for (unsigned i = 0; i < NCACHES; i++)
		step_return(i);
	while (nlive)
		step_free();
	compare();
}
