/* heap.c: random takes and gives of pages, through caches and not, against a byte a page.
 *
 * A page's first word says who has it. Pages said to be clean must read as zero. SEED=n repeats
 * a history.
 */
#include <criterion/criterion.h>

#include "tests/check.h"
#include "tests/core.h"

#define NCACHES 2
#define NRUNS 600
#define STEPS 30000
#define MAX_PAGES 60000

static struct pages_cache cache[NCACHES];
static uint8_t is_used[MAX_PAGES];
static struct run runs[NRUNS];
static unsigned nruns;
static uint64_t rng;

static unsigned below(unsigned n)
{
	return (unsigned)(next_random(&rng) >> 16) % n;
}

static page_idx random_length(void)
{
	return 1 + below(below(8) ? below(8) ? 12 : 80 : 700);
}

static struct pages_cache *random_cache(void)
{
	unsigned i = below(NCACHES + 1);

	return i < NCACHES ? &cache[i] : NULL;
}

static uint64_t *word_of(page_idx page)
{
	return (uint64_t *)heap_address(page);
}

static void keep(const struct run *run)
{
	bool is_clean = run->nclean == run->npages;

	cr_assert_leq(run->first + run->npages, MAX_PAGES);
	for (page_idx i = run->first; i < run->first + run->npages; i++) {
		cr_assert_not(is_used[i], "page %u is taken", i);
		is_used[i] = 1;
		cr_assert(!is_clean || !*word_of(i), "page %u is not clean", i);
		*word_of(i) = run->first;
	}
	runs[nruns++] = *run;
}

static void take(void)
{
	page_idx npages = random_length(), align = below(4) ? 1 : 1u << below(9);
	struct run run;

	if (nruns == NRUNS)
		return;
	cr_assert(core_take_pages(random_cache(), npages, align, &run));
	cr_assert_eq(run.npages, npages);
	cr_assert_eq(run.first % align, 0);
	keep(&run);
}

/* All free in the model, and in no cache: whether they are is the model's to say. */
static void take_at(void)
{
	page_idx first = below(heap.pages.npages + 1), npages = random_length();
	bool is_free = true;
	struct run run;

	if (nruns == NRUNS)
		return;
	for (page_idx i = first; i < first + npages; i++)
		is_free &= i < heap.pages.npages && !is_used[i];
	for (unsigned i = 0; i < NCACHES; i++)
		if (cache[i].is_claimed && first < cache[i].first + PAGES_GROUP
		    && first + npages > cache[i].first)
			return;
	cr_assert_eq(heap_take_pages_at(first, npages, &run), is_free);
	if (is_free)
		keep(&run);
}

static void give(void)
{
	if (!nruns)
		return;

	unsigned i = below(nruns);
	struct run run = runs[i];
	enum pages_kind kind = below(3) ? PAGES_DIRTY : below(2) ? PAGES_CLEAN : PAGES_LAZY;

	runs[i] = runs[--nruns];
	for (page_idx page = run.first; page < run.first + run.npages; page++) {
		cr_assert_eq(*word_of(page), run.first, "page %u", page);
		is_used[page] = 0;
		if (kind == PAGES_CLEAN)
			*word_of(page) = 0;
	}
	heap_give_pages(random_cache(), run.first, run.npages, kind);
}

static void verify(void)
{
	page_idx n = 0;

	for (page_idx i = 0; i < heap.pages.npages; i++)
		n += is_used[i];
	for (unsigned i = 0; i < NCACHES; i++)
		n += bit_count(cache[i].free);
	cr_assert_eq(core_used_pages(), n);
	pages_verify(&heap.pages);
}

static void step(unsigned i)
{
	/* Phases in which the heap fills and empties. */
	bool is_filling = i / 2000 % 2 == 0;

	switch (below(16)) {
	case 0:
		heap_return_cache(&cache[below(NCACHES)]);
		break;
	case 1:
		take_at();
		break;
	case 2:
		if (!below(20))
			scavenge_all();
		break;
	default:
		if (below(10) < (is_filling ? 6 : 4))
			take();
		else
			give();
	}
	if (i % 64 == 0)
		verify();
}

Test(heap, any_history_agrees_with_the_model)
{
	rng = seed_from_env();
	core_start();
	for (unsigned i = 0; i < STEPS; i++)
		step(i);
	while (nruns)
		give();
	for (unsigned i = 0; i < NCACHES; i++)
		heap_return_cache(&cache[i]);
	verify();
	cr_assert_eq(heap.pages.nfree, heap.pages.npages);
	scavenge_all();
	cr_assert_eq(heap.pages.nclean + heap.pages.nlazy, heap.pages.nfree);
}
