/* collect.c: random graphs are marked, sticky or anew, while they are written to.
 *
 * The model knows the words of each block, and which os pages were written. What the roots lead to at
 * the end must be marked; without the pages that were written blocks must be lost. SEED=n repeats a
 * history.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "scan/mark.h"
#include "tests/check.h"
#include "tests/core.h"
#include "tests/unit/collect.h"

static uint64_t rng;

#define NMODEL 3000
#define NPAGES_MODEL (MIB(64) / OS_PAGE_BYTES)

static struct model {
	uintptr_t *block;
	size_t nwords;
} model[NMODEL];

static bool is_dirty[NPAGES_MODEL], is_reached[NMODEL];
static uintptr_t roots[16];

static void write_word(unsigned i, size_t k, uintptr_t word)
{
	uintptr_t at = (uintptr_t)&model[i].block[k];

	model[i].block[k] = word;
	is_dirty[(at - heap.base) / OS_PAGE_BYTES] = true;
}

static void write_some(unsigned n)
{
	while (n--) {
		unsigned i = (unsigned)(next_random(&rng) % NMODEL), to = (unsigned)(next_random(&rng) % NMODEL);
		size_t k = next_random(&rng) % model[i].nwords;
		uintptr_t word = (uintptr_t)model[to].block;

		if (next_random(&rng) % 4 == 0)
			word += next_random(&rng) % (model[to].nwords * sizeof word);
		if (next_random(&rng) % 16 == 0)
			roots[next_random(&rng) % 16] = word;
		write_word(i, k, next_random(&rng) % 3 ? word : next_random(&rng));
	}
}

static void make_model(void)
{
	for (unsigned i = 0; i < NMODEL; i++) {
		uint64_t r = next_random(&rng);

		model[i].nwords = r % 512 == 0 ? KIB(20) + r / 512 % KIB(20)
		                  : r % 16 == 0 ? 100 + r / 16 % 2000 : 2 + r / 16 % 14;
		model[i].block = make(model[i].nwords * sizeof(uintptr_t));
	}
	cr_assert(heap.nbytes <= MIB(64));
	write_some(2 * NMODEL);
	for (unsigned i = 0; i < 16; i++)
		roots[i] = (uintptr_t)model[next_random(&rng) % NMODEL].block;
}

static unsigned model_of(uintptr_t word)
{
	uintptr_t p = word & ((UINT64_C(1) << 48) - 1);

	for (unsigned i = 0; i < NMODEL; i++) {
		if (p - (uintptr_t)model[i].block <= model[i].nwords * sizeof p)
			return i;
	}
	return NMODEL;
}

/* How many of what the roots lead to is not marked, as far as nobody forgets it. */
static unsigned count_lost(void)
{
	static unsigned list[NMODEL];
	unsigned n = 0, nlost = 0;

	memset(is_reached, 0, sizeof is_reached);
	for (unsigned i = 0; i < 16; i++) {
		unsigned to = model_of(roots[i]);

		if (to < NMODEL && !is_reached[to]) {
			is_reached[to] = true;
			list[n++] = to;
		}
	}
	while (n) {
		const struct model *m = &model[list[--n]];

		nlost += !is_marked(m->block);
		for (size_t k = 0; k < m->nwords; k++) {
			unsigned to = m->block[k] ? model_of(m->block[k]) : NMODEL;

			if (to < NMODEL && !is_reached[to]) {
				is_reached[to] = true;
				list[n++] = to;
			}
		}
	}
	return nlost;
}

static void collect_dirty(bool is_ignored)
{
	for (size_t i = 0; i < heap.nbytes / OS_PAGE_BYTES; i++) {
		uintptr_t page = heap.base + i * OS_PAGE_BYTES;

		if (is_dirty[i] && !is_ignored)
			mark_dirty(page, page + OS_PAGE_BYTES);
		is_dirty[i] = false;
	}
}

static void mark_roots(void)
{
	mark_range((uintptr_t)roots, (uintptr_t)(roots + 16));
}

/* True: nothing was lost. */
static bool collect_model(bool is_full, unsigned nwrites, bool ignores_dirty)
{
	cr_assert(is_full ? mark_start_full() : mark_start_sticky());
	if (is_full)
		memset(is_dirty, 0, sizeof is_dirty);
	mark_roots();
	mark_drain();
	write_some(nwrites);
	collect_dirty(ignores_dirty);
	write_some(nwrites);
	mark_drain();
	write_some(nwrites);
	mark_stopped();
	mark_roots();
	collect_dirty(ignores_dirty);
	mark_drain();

	unsigned nlost = count_lost();

	mark_end();
	return !nlost;
}

Test(collect, a_model_with_writes_in_between_is_marked_whole, .init = start)
{
	rng = seed_from_env();
	make_model();
	for (unsigned round = 0; round < 20; round++) {
		mark_set_workers(1 + round % 3);
		cr_assert(collect_model(round % 4 == 0, 20 << round % 5, false), "round %u", round);
		write_some(200);
	}
}

Test(collect, a_model_is_marked_whole_with_little_memory_for_work, .init = start)
{
	rng = seed_from_env();
	make_model();
	mark_limit_work(KIB(64));
	for (unsigned round = 0; round < 10; round++) {
		mark_set_workers(1 + round % 3);
		cr_assert(collect_model(round % 2 == 0, 300, false), "round %u", round);
		write_some(200);
	}
}

Test(collect, without_the_dirty_pages_a_model_loses_blocks, .init = start)
{
	unsigned nlost = 0;

	rng = seed_from_env();
	make_model();
	for (unsigned round = 0; round < 20; round++)
		nlost += !collect_model(true, 500, true);
	cr_assert_gt(nlost, 10);
}
