/* scan_dirty.c: marking for a collection: what is read on pages that were written. Which os pages those are
 * is what the test says. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

#include "core/marks.h"
#include "scan/mark.h"
#include "tests/check.h"
#include "tests/core.h"
#include "tests/unit/collect.h"

static uint64_t rng;

static const size_t dirty_sizes[] = {
	1, 16, 24, 48, 64, 80, 100, 112, 144, 208, 320, 500, 1000, 1500, 2048, 3000, 4000, 4096, 5000,
	6000, 8192, 9000, 10000, 16384, 20000, 28000, 32768 - 16, KIB(40), KIB(100), KIB(129), MIB(1),
	MIB(3) + 16,
};
static const unsigned aligns[] = { 8, 4, 1 };

struct dirty_case {
	size_t nbytes;
	unsigned align;
};

ParameterizedTestParameters(scan_dirty, a_word_on_a_dirty_page_of_a_marked_block_is_read)
{
	enum { N = sizeof dirty_sizes / sizeof *dirty_sizes };
	static struct dirty_case c[3 * N];

	for (unsigned i = 0; i < 3 * N; i++)
		c[i] = (struct dirty_case){ dirty_sizes[i / 3], aligns[i % 3] };
	return cr_make_param_array(struct dirty_case, c, 3 * N);
}

/* Those pages of [p, p + 8) alone that begin at or behind `p`, or the one that p is on. */
static void expect_read(char *p, size_t offset, void *leaf, bool is_first)
{
	uintptr_t at = (uintptr_t)p + offset;
	uintptr_t page = align_down(is_first ? at : at + 7, OS_PAGE_BYTES);

	memcpy(p + offset, &leaf, sizeof leaf);
	cr_assert_not(is_marked(leaf));
	mark_dirty(page, page + OS_PAGE_BYTES);
	mark_drain();
	cr_assert(is_marked(leaf), "offset %zu of %p", offset, (void *)p);
	marks_died(leaf);
	leaf = NULL;
	memcpy(p + offset, &leaf, sizeof leaf);
}

ParameterizedTest(struct dirty_case *c, scan_dirty,
                  a_word_on_a_dirty_page_of_a_marked_block_is_read)
{
	size_t nbytes = c->nbytes, nblocks = nbytes < KIB(4) ? 3 * KIB(8) / nbytes + 2 : 3;
	char *block[nblocks];
	void *leaf;

	start();
	rng = seed_from_env();
	mark_set_align(c->align);
	for (size_t i = 0; i < nblocks; i++)
		block[i] = make(nbytes);
	leaf = make(400);
	cr_assert(mark_start_full());
	for (size_t i = 0; i < nblocks; i++)
		mark_from(block[i]);
	for (unsigned i = 0; nbytes >= 8 && i < 2000; i++) {
		char *p = block[next_random(&rng) % nblocks];
		size_t last = align_down(nbytes - 8, c->align);
		size_t offset = align_down(next_random(&rng) % (last + 1), c->align);
		size_t to_page = OS_PAGE_BYTES - (uintptr_t)p % OS_PAGE_BYTES;

		if (i % 4 == 0)
			offset = last;
		else if (i % 4 == 1 && to_page < nbytes && to_page >= 8)
			offset = to_page - c->align * (i / 4 % (8 / c->align + 1));
		if (offset <= last)
			expect_read(p, offset, leaf, i & 8);
	}
	mark_end();
}

Test(scan_dirty, other_pages_and_unmarked_blocks_are_not_read, .init = start)
{
	static const size_t sizes[] = { 64, 1000, KIB(24), MIB(1) };

	for (unsigned i = 0; i < 4; i++) {
		size_t n = sizes[i] < KIB(24) ? KIB(64) / sizes[i] : 1;
		char *p[n], *leaf = make(400), *own = make(304);

		for (size_t k = 0; k < n; k++)
			p[k] = make(sizes[i]);
		cr_assert(mark_start_full());
		for (size_t k = 0; k < n; k++)
			if (n == 1 || k != n / 2)
				mark_from(p[k]);
		if (n > 1)
			memcpy(p[n / 2], &own, sizeof own);     /* is not marked */
		memcpy(n > 1 ? p[n - 1] : p[0] + KIB(16), &leaf, sizeof leaf);
		mark_page_of(n > 1 ? p[n / 2] : p[0]);
		mark_drain();
		cr_assert_not(is_marked(leaf), "%zu", sizes[i]);
		cr_assert_not(is_marked(own), "%zu", sizes[i]);
		mark_end();
	}
}

Test(scan_dirty, blocks_without_pointers_are_not_read_on_dirty_pages, .init = start)
{
	void **p = cache_alloc_class(sizeclass_noscan(sizeclass_of(64)));
	void *q = make(400);

	cr_assert(mark_start_full());
	mark_from(p);
	p[0] = q;
	mark_page_of(p);
	mark_drain();
	cr_assert_not(is_marked(q));
	mark_end();
}

Test(scan_dirty, dirty_pages_without_blocks_do_no_harm, .init = start)
{
	void *p = make(48), *q = make(KIB(64));

	cache_free(q);
	cr_assert(mark_start_full());
	mark_from(p);
	mark_dirty(heap.base, heap.base + heap.nbytes + MIB(1));
	mark_drain();
	cr_assert_eq(mark_counts().nblocks, 1);
	mark_end();
}
