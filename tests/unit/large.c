/* large.c: blocks in pages of their own: alignment, zeroing, growing, moving, shrinking. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

#include "core/discard.h"
#include "tests/core.h"

#define PAGES(n) ((n) * PAGE_BYTES)             /* above 32 they bypass the cache of pages */

static bool is_filled(const void *p, int byte, size_t nbytes)
{
	const char *bytes = p;

	return bytes[0] == (char)byte && memcmp(bytes, bytes + 1, nbytes - 1) == 0;
}

static void *filled(int byte, size_t nbytes)
{
	void *p = large_alloc(nbytes, 1);

	cr_assert_not_null(p);
	return memset(p, byte, nbytes);
}

static struct span *span_of(void *p)
{
	return heap_span((uintptr_t)p);
}

static page_idx nclean(void)
{
	return heap.pages.nclean;
}

static void start_lazy(void)
{
	knobs.madvise = KNOB_MADVISE_FREE;
	core_start();
}

/* --- allocating --- */

Test(large, a_block_has_whole_pages_and_is_marked_at_its_start, .init = core_start)
{
	static const size_t sizes[] = { 1, PAGE_BYTES, PAGE_BYTES + 1, SIZECLASS_MAX + 1, MIB(1),
	                                MIB(64), MIB(64) + 1, MIB(200) };

	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		char *p = large_alloc(sizes[i], 1);
		struct span *s = span_of(p);

		cr_assert_eq((uintptr_t)p % PAGE_BYTES, 0);
		cr_assert_eq(s->place, SPAN_LARGE);
		cr_assert_eq(large_usable(s), align_up(sizes[i], PAGE_BYTES));
		cr_assert_eq(*heap_granule((uintptr_t)p), SIZECLASS_LARGE);
		cr_assert_eq(heap_span_any((uintptr_t)p + sizes[i] - 1), s);
		p[0] = p[large_usable(s) - 1] = 1;
	}
	core_verify();
}

ParameterizedTestParameters(large, blocks_can_be_aligned)
{
	static size_t aligns[] = { 1, 16, KIB(4), KIB(8), KIB(16), MIB(1), MIB(2), MIB(64), MIB(256) };

	return cr_make_param_array(size_t, aligns, sizeof aligns / sizeof *aligns);
}

ParameterizedTest(size_t *align, large, blocks_can_be_aligned, .init = core_start)
{
	void *p[3];

	for (int i = 0; i < 3; i++) {
		p[i] = large_alloc(5 + (size_t)i * KIB(300), *align);
		cr_assert_not_null(p[i]);
		cr_assert_eq((uintptr_t)p[i] % *align, 0, "%p", p[i]);
		memset(p[i], 1, large_usable(span_of(p[i])));
	}
	for (int i = 0; i < 3; i++)
		cache_free(p[i]);
	cr_assert(core_returns_all_pages());
}

Test(large, what_cannot_be_is_refused, .init = core_start)
{
	cr_assert_null(large_alloc(SIZE_MAX / 2, 1));
	cr_assert_null(large_alloc(heap.region.nbytes + 1, 1));
	cr_assert_null(large_alloc(1, (size_t)1 << 62));
	cr_assert_null(large_calloc(SIZE_MAX / 2));
	core_verify();
	cache_free(filled(1, PAGES(40)));
	cr_assert(core_returns_all_pages());
}

Test(large, refused_memory_loses_nothing, .init = core_start)
{
	void *p = filled(1, PAGES(40)), *q, *r, *t;

	core_refuse_memory(true);
	q = large_alloc(MIB(2), 1);
	r = large_calloc(MIB(2));
	t = large_resize(p, MIB(2));
	core_refuse_memory(false);
	cr_assert_null(q);
	cr_assert_null(r);
	cr_assert_null(t);
	cr_assert(is_filled(p, 1, PAGES(40)));
	cr_assert_eq(large_usable(span_of(p)), PAGES(40));
	cr_assert_eq(*heap_granule((uintptr_t)p), SIZECLASS_LARGE);
	cache_free(p);
	cr_assert(core_returns_all_pages());
}

Test(large, freed_blocks_leave_no_mark_and_all_pages, .init = core_start)
{
	void *p = filled(1, MIB(3));

	cache_free(p);
	cr_assert_eq(*heap_granule((uintptr_t)p), 0);
	cr_assert(core_returns_all_pages());
	cr_assert_eq(large_alloc(MIB(3), 1), p);
}

/* --- calloc --- */

Test(large, clean_pages_are_not_written, .init = core_start)
{
	void *p = large_calloc(PAGES(100));

	cr_assert(is_filled(p, 0, PAGES(100)));
	memset(p, 1, PAGES(100));
	cache_free(p);
	scavenge_all();

	uint64_t discards = discard_counts.ndiscards;

	cr_assert_eq(large_calloc(PAGES(100)), p);
	cr_assert(is_filled(p, 0, PAGES(100)));
	cr_assert_eq(discard_counts.ndiscards, discards);
}

Test(large, dirty_pages_are_zeroed, .init = core_start)
{
	void *p = filled(1, PAGES(100));

	cache_free(p);
	cr_assert_eq(large_calloc(PAGES(100) - 5), p);
	cr_assert(is_filled(p, 0, PAGES(100) - 5));
}

Test(large, lazily_freed_pages_are_zeroed, .init = start_lazy)
{
	void *p = filled(1, PAGES(100));

	cache_free(p);
	scavenge_all();
	cr_assert_gt(heap.pages.nlazy, 0);
	cr_assert_eq(large_calloc(PAGES(100)), p);
	cr_assert(is_filled(p, 0, PAGES(100)));
}

ParameterizedTestParameters(large, dirty_and_clean_pages_are_all_zero)
{
	static page_idx dirty[] = { 1, 33, 49, 50, 51, 99, 100, 101, 150, 199 };

	return cr_make_param_array(page_idx, dirty, sizeof dirty / sizeof *dirty);
}

ParameterizedTest(page_idx *ndirty, large, dirty_and_clean_pages_are_all_zero, .init = core_start)
{
	void *p = filled(1, PAGES(200)), *q;

	cache_free(p);
	scavenge_all();
	/* The front of it dirty again; a page beside it keeps a short block from the cache. */
	q = large_alloc(PAGES(*ndirty), 16 * PAGE_BYTES);
	cr_assert_eq(q, p);
	memset(q, 2, PAGES(*ndirty));
	cache_free(q);
	cache_empty_own();
	cr_assert_eq(large_calloc(PAGES(200)), p);
	cr_assert(is_filled(p, 0, PAGES(200)));
}

/* --- growing and shrinking --- */

Test(large, a_block_grows_in_place_into_free_pages, .init = core_start)
{
	char *p = filled(1, PAGES(40));

	cr_assert_eq(large_resize(p, PAGES(90) + 1), p);

	size_t grown = large_usable(span_of(p));

	cr_assert_geq(grown, PAGES(91));
	cr_assert_lt(grown, 2 * PAGES(91), "some more for the next time");
	cr_assert_eq(heap_span_any((uintptr_t)p + grown - 1), span_of(p));
	cr_assert(is_filled(p, 1, PAGES(40)));
	memset(p, 2, grown);
	cache_free(p);
	cr_assert(core_returns_all_pages());
}

Test(large, the_size_it_has_changes_nothing, .init = core_start)
{
	void *p = filled(1, PAGES(40));
	page_idx used = core_used_pages();

	cr_assert_eq(large_resize(p, PAGES(40)), p);
	cr_assert_eq(large_resize(p, PAGES(39) + 1), p);
	cr_assert_eq(large_resize(p, PAGES(38)), p, "less than an eighth is not worth it");
	cr_assert_eq(core_used_pages(), used);
}

Test(large, shrinking_gives_the_tail_back, .init = core_start)
{
	void *p = filled(1, PAGES(100));
	page_idx used = core_used_pages();

	cr_assert_eq(large_resize(p, PAGES(50)), p);
	cr_assert_eq(core_used_pages(), used - 50);
	cr_assert_eq(large_usable(span_of(p)), PAGES(50));
	cr_assert(is_filled(p, 1, PAGES(50)));
	cr_assert_null(heap_span_any((uintptr_t)p + PAGES(50)));
	cr_assert_eq(large_resize(p, PAGES(100)), p, "and takes it again");
	cr_assert(is_filled(p, 1, PAGES(50)));
	cache_free(p);
	cr_assert(core_returns_all_pages());
}

Test(large, a_small_one_that_is_blocked_is_copied, .init = core_start)
{
	char *p = filled(1, PAGES(20)), *blocker = filled(2, PAGES(20));
	char *to = large_resize(p, PAGES(40));

	cr_assert_neq(to, p);
	cr_assert(is_filled(to, 1, PAGES(20)));
	cr_assert_not(span_of(to)->nmoved);
	cr_assert_eq(*heap_granule((uintptr_t)p), 0);
	cr_assert_eq(*heap_granule((uintptr_t)to), SIZECLASS_LARGE);
	cr_assert(is_filled(blocker, 2, PAGES(20)));
	cache_free(blocker);
	cache_free(to);
	cr_assert(core_returns_all_pages());
}

Test(large, a_big_one_that_is_blocked_moves_its_pages, .init = core_start)
{
	char *p = filled(1, MIB(4)), *blocker = filled(2, MIB(1));

	for (size_t at = 0; at < MIB(4); at += PAGE_BYTES)
		memcpy(p + at, &at, sizeof at);

	char *to = large_resize(p, MIB(9));

	cr_assert_neq(to, p);
	cr_assert(span_of(to)->nmoved);
	for (size_t at = 0; at < MIB(4); at += PAGE_BYTES)
		cr_assert_eq(memcmp(to + at, &at, sizeof at), 0, "at %zu", at);
	memset(to, 3, MIB(9));
	cr_assert(is_filled(blocker, 2, MIB(1)));
	cr_assert(is_filled(memset(filled(4, MIB(4)), 5, MIB(4)), 5, MIB(4)), "where it was");
	cr_assert(is_filled(to, 3, MIB(9)));
	core_verify();
}

Test(large, one_that_was_moved_is_moved_again_in_pieces, .init = core_start)
{
	char *p = filled(1, MIB(1)), *to = p;

	for (size_t nbytes = MIB(1); nbytes < MIB(40); nbytes *= 2) {
		char *blocker = filled(2, MIB(1));

		to = large_resize(p, 2 * nbytes);
		cr_assert_neq(to, p);
		cr_assert(is_filled(to, 1, nbytes), "%zu", nbytes);
		memset(to, 1, 2 * nbytes);
		cr_assert(is_filled(blocker, 2, MIB(1)));
		p = to;
	}
	cr_assert_gt(span_of(to)->nmoved, 1);
	cache_free(to);
	core_verify();
}

/* Is what lies where `p` was, once given out again, known to be clean? */
static bool is_clean_at(const void *p, size_t nbytes)
{
	page_idx npages = (page_idx)(nbytes / PAGE_BYTES);
	struct run run;

	cr_assert(heap_take_pages_at(heap_page((uintptr_t)p), npages, &run));
	return run.nclean == npages;
}

Test(large, where_a_moved_block_was_is_clean, .init = core_start)
{
	char *p = filled(1, MIB(4)), *blocker = filled(2, MIB(1)), *to = large_resize(p, MIB(8));

	cr_assert_gt(span_of(to)->nmoved, 0);
	cr_assert(is_clean_at(p, MIB(4)));
	cr_assert(is_filled(p, 0, MIB(4)));
	cr_assert(is_filled(blocker, 2, MIB(1)));
}

/* Resizes `p` while the page behind it is taken, so that it can't grow in place. */
static char *resize_elsewhere(char *p, size_t nbytes)
{
	page_idx end = heap_page((uintptr_t)p) + span_of(p)->npages;
	struct run run = { .npages = 0 };
	bool is_taken = heap_take_pages_at(end, 1, &run);
	char *to = large_resize(p, nbytes);

	if (is_taken)
		heap_give_pages(NULL, run.first, 1, PAGES_CLEAN);
	return to;
}

/* A block of 1 MiB whose first 264 KiB were moved: its first quarter lies on one mapping, what
 * follows on two, and a part of that is copied. It is written to before it moves: a mapping that
 * never had a page becomes one with its new neighbours. */
static char *of_two_mappings(void)
{
	char *p = large_alloc(KIB(264), 1);

	*p = 1;
	return resize_elsewhere(p, MIB(1));
}

Test(large, where_a_part_was_copied_is_not, .init = core_start)
{
	char *p = of_two_mappings(), *blocker = filled(2, MIB(1));

	memset(p, 1, MIB(1));

	char *to = large_resize(p, MIB(2));

	if (CORE_HAS_ASAN && span_of(to)->nmoved == 1)
		cr_skip_test("under ASan the two mappings are one");
	cr_assert_eq(span_of(to)->nmoved, 2);
	cr_assert(is_filled(to, 1, MIB(1)));
	cr_assert_not(is_filled(p, 0, MIB(1)), "or this shows nothing");
	cr_assert_not(is_clean_at(p, MIB(1)));
	cr_assert(is_filled(blocker, 2, MIB(1)));
}

Test(large, moves_in_pieces_are_all_forgotten_with_their_block, .init = core_start)
{
	unsigned n = 0;
	char *to;

	for (unsigned i = 0; i < 8000; i++) {
		to = resize_elsewhere(of_two_mappings(), MIB(2));
		n += span_of(to)->nmoved;
		cache_free(to);
	}
	cr_assert_gt(n, 7000, "or this shows nothing: %u", n);
	to = resize_elsewhere(large_alloc(KIB(264), 1), MIB(4));
	cr_assert_gt(span_of(to)->nmoved, 0);
}

/* More moves than may leave their mappings behind. Blocks that lie on two mappings are copied. */
static void move_many(void)
{
	unsigned n = 0;

	core_start();
	for (unsigned i = 0; i < 5000 && n < 2100; i++) {
		char *p = filled(1, KIB(256)), *blocker = large_alloc(PAGES(1), 1);
		char *to = large_resize(p, KIB(512));

		n += span_of(to)->nmoved;
		cache_free(to);
		cache_free(blocker);
	}
	cr_assert_eq(n, 2100);
	core_returns_all_pages();
}

Test(large, the_pages_of_a_few_moved_blocks_stay_as_they_are, .init = core_start)
{
	char *p = filled(1, MIB(4)), *blocker = filled(2, MIB(1)), *to = large_resize(p, MIB(8));
	page_idx clean = nclean();

	cr_assert(span_of(to)->nmoved);
	memset(to, 1, MIB(8));
	cache_free(to);
	cr_assert_eq(nclean(), clean);
	to = large_calloc(MIB(8));
	cr_assert(is_filled(to, 0, MIB(8)));
	cache_free(to);
	cache_free(blocker);
	cr_assert(core_returns_all_pages());
}

Test(large, the_pages_of_many_moved_blocks_come_back_clean, .init = move_many)
{
	char *p = filled(1, MIB(4)), *blocker = filled(2, MIB(1)), *to = large_resize(p, MIB(8));
	page_idx clean = nclean();

	memset(to, 1, MIB(8));
	cr_assert_eq(large_resize(to, MIB(4)), to);
	cr_assert_eq(nclean(), clean + MIB(4) / PAGE_BYTES);
	cr_assert(is_filled(to, 1, MIB(4)));
	cache_free(to);
	cr_assert_eq(nclean(), clean + MIB(8) / PAGE_BYTES);
	to = large_calloc(MIB(8));
	cr_assert(is_filled(to, 0, MIB(8)));
	cache_free(to);
	cache_free(blocker);
	cr_assert(core_returns_all_pages());
}

Test(large, a_block_grown_step_by_step_keeps_its_contents, .init = core_start)
{
	unsigned char *p = large_alloc(PAGES(5), 1);
	size_t nbytes = PAGES(5);

	memset(p, 7, nbytes);
	while (nbytes < MIB(30)) {
		size_t more = nbytes * 5 / 4;
		void *between = filled(9, PAGES(3));    /* in its way, mostly */

		p = large_resize(p, more);
		cr_assert_not_null(p);
		cr_assert(is_filled(p, 7, nbytes), "%zu", nbytes);
		memset(p, 7, more);
		nbytes = more;
		if (nbytes % 3)
			cache_free(between);
	}
	core_verify();
}

Test(large, growth_beyond_all_addresses_is_refused, .init = core_start)
{
	void *p = filled(1, PAGES(40));

	cr_assert_null(large_resize(p, SIZE_MAX / 2));
	cr_assert_null(large_resize(p, heap.region.nbytes + 1));
	cr_assert(is_filled(p, 1, PAGES(40)));
	cache_free(p);
	cr_assert(core_returns_all_pages());
}

Test(large, a_block_over_whole_arenas_can_be_shrunk_and_freed, .init = core_start)
{
	char *first = filled(1, PAGES(100)), *p = large_alloc(MIB(300), 1);

	p[0] = p[MIB(300) - 1] = 1;
	cr_assert_eq(large_resize(p, MIB(100)), p);
	cr_assert_eq(heap_span_any((uintptr_t)p + MIB(100) - 1), span_of(p));
	cr_assert_null(heap_span_any((uintptr_t)p + MIB(100)));
	cr_assert_eq(large_resize(p, MIB(290)), p);
	cr_assert_eq(heap_span_any((uintptr_t)p + MIB(290) - 1), span_of(p));
	cache_free(p);
	cache_free(first);
	cr_assert(core_returns_all_pages());
}

static void *free_and_end(void *p)
{
	cache_free(p);
	cache_detach();
	return NULL;
}

Test(large, another_thread_may_free_it, .init = core_start)
{
	core_in_thread(free_and_end, filled(1, PAGES(4)));
	core_in_thread(free_and_end, filled(1, PAGES(400)));
	cr_assert(core_returns_all_pages());
}
