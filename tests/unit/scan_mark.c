/* scan_mark.c: what marking takes for a pointer, and what it reaches. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

#include "scan/mark.h"
#include "tests/core.h"

static void start(void)
{
	core_start();
	mark_set_align(sizeof(uintptr_t));
	mark_limit_work(SIZE_MAX);
}

static void *make(size_t nbytes)
{
	void *p = core_malloc(nbytes);

	cr_assert_not_null(p);
	return memset(p, 0, nbytes);
}

static bool is_marked(const void *p)
{
	return mark_is_marked((uintptr_t)p);
}

/* Marks from this word alone. */
static void mark_from(uintptr_t word)
{
	cr_assert(mark_start());
	mark_range((uintptr_t)&word, (uintptr_t)(&word + 1));
	mark_drain();
}

Test(scan_mark, a_block_that_nothing_points_to_is_not_marked, .init = start)
{
	void *p = make(48), *q = make(48);

	mark_from((uintptr_t)p);
	cr_assert(is_marked(p));
	cr_assert_not(is_marked(q));
	cr_assert_eq(mark_counts().nblocks, 1);
}

Test(scan_mark, marks_of_one_round_are_gone_in_the_next, .init = start)
{
	void *p = make(48), *q = make(48);

	mark_from((uintptr_t)p);
	mark_end();
	mark_from((uintptr_t)q);
	cr_assert_not(is_marked(p));
	cr_assert(is_marked(q));
	cr_assert_eq(mark_counts().nblocks, 1);
}

Test(scan_mark, any_address_inside_a_slot_is_a_pointer, .init = start)
{
	static const size_t sizes[] = { 1, 16, 48, 100, 1000, 8192, 32768, 40000, MIB(3), MIB(130) };

	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		char *p = make(sizes[i]);
		size_t slot = heap_span((uintptr_t)p)->slot_bytes;
		size_t last = slot ? slot - 1 : align_up(sizes[i], PAGE_BYTES) - 1;
		size_t at[] = { 0, 1, 8, 15, last / 2, last };

		for (unsigned k = 0; k < sizeof at / sizeof *at; k++) {
			mark_from((uintptr_t)p + (at[k] < last ? at[k] : last));
			cr_assert(is_marked(p), "%zu of %zu", at[k], sizes[i]);
			cr_assert_eq(mark_counts().nblocks, 1);
			cr_assert_eq(mark_find((uintptr_t)p + at[k] % (last + 1)), (uintptr_t)p);
			mark_end();
		}
	}
}

Test(scan_mark, an_address_next_to_a_slot_is_none_of_it, .init = start)
{
	char *p[64];

	for (unsigned i = 0; i < 64; i++)
		p[i] = make(48);
	mark_from((uintptr_t)p[20] - 1);
	cr_assert_not(is_marked(p[20]));
	mark_end();
	mark_from((uintptr_t)p[20] + 48);
	cr_assert_not(is_marked(p[20]));
}

Test(scan_mark, a_tag_in_the_upper_16_bits_does_not_hide_a_pointer, .init = start)
{
	void *p = make(48);

	mark_from((uintptr_t)p | UINT64_C(0xb4) << 56);
	cr_assert(is_marked(p));
	mark_end();
	mark_from((uintptr_t)p | UINT64_C(0xffff) << 48 | 5);
	cr_assert(is_marked(p));
}

Test(scan_mark, words_that_are_no_pointers_do_no_harm, .init = start)
{
	char *p = make(48);
	struct span *s = heap_span((uintptr_t)p);
	uintptr_t words[] = { 0, 1, UINTPTR_MAX, heap.base - 1, heap.base + heap.nbytes,
	                      heap.base + heap.nbytes - 1, s->base + s->npages * PAGE_BYTES - 1,
	                      UINT64_C(1) << 63, (uintptr_t)&words };

	cache_free(p);
	cr_assert(mark_start());
	mark_range((uintptr_t)words, (uintptr_t)words + sizeof words);
	mark_word((uintptr_t)p);
	mark_word((uintptr_t)p + 8);
	mark_drain();
	cr_assert_eq(mark_counts().nblocks, 0);
	cr_assert_eq(mark_find((uintptr_t)p), 0);
}

Test(scan_mark, a_freed_large_block_is_not_marked, .init = start)
{
	char *p = make(MIB(1));

	cache_free(p);
	mark_from((uintptr_t)p + 100);
	cr_assert_eq(mark_counts().nblocks, 0);
}

Test(scan_mark, a_large_block_that_realloc_is_moving_is_read_without_its_granule, .init = start)
{
	char *p = make(MIB(1));
	void *q = make(48);

	*(void **)p = q;
	*heap_granule((uintptr_t)p) = 0;
	mark_from((uintptr_t)p);
	cr_assert(is_marked(q));
}

Test(scan_mark, lists_trees_and_cycles_are_followed_to_their_ends, .init = start)
{
	enum { N = 100000 };
	static void **node[N];

	for (unsigned i = 0; i < N; i++)
		node[i] = make(16 + i % 300);
	for (unsigned i = 0; i < N; i++) {
		node[i][0] = node[(i * 2 + 1) % N];
		node[i][1] = node[(i * 2 + 2) % N];
	}
	mark_from((uintptr_t)node[0]);
	for (unsigned i = 0; i < N; i++)
		cr_assert(is_marked(node[i]), "%u", i);
	cr_assert_eq(mark_counts().nblocks, N);
}

Test(scan_mark, a_list_of_100000_is_followed_to_its_end, .init = start)
{
	void **first = NULL;

	for (unsigned i = 0; i < 100000; i++) {
		void **p = make(32);

		p[3] = first;
		first = p;
	}
	mark_from((uintptr_t)first);
	cr_assert_eq(mark_counts().nblocks, 100000);
}

/* Pieces of a large block: pointers at both sides of each border. */
ParameterizedTestParameters(scan_mark, every_word_of_a_large_block_is_read)
{
	static size_t nbytes[] = { KIB(40), KIB(128), KIB(128) + 16, KIB(256), MIB(1) + 8, MIB(5) };

	return cr_make_param_array(size_t, nbytes, sizeof nbytes / sizeof *nbytes);
}

ParameterizedTest(size_t *nbytes, scan_mark, every_word_of_a_large_block_is_read)
{
	start();

	void **large = make(*nbytes);
	size_t n = *nbytes / sizeof *large;
	unsigned nblocks = 1;

	for (size_t i = 0; i < n; i += i % 2048 == 1023 ? 1 : i % 2048 == 1024 ? 1022 : 1)
		if (i % 1024 < 2 || i % 1024 > 1021 || i == n - 1) {
			large[i] = make(16);
			nblocks++;
		}
	if (!large[n - 1]) {
		large[n - 1] = make(16);
		nblocks++;
	}
	mark_from((uintptr_t)large);
	cr_assert_eq(mark_counts().nblocks, nblocks);
}

Test(scan_mark, blocks_without_pointers_are_marked_and_not_read, .init = start)
{
	void **p = cache_alloc_class(sizeclass_noscan(sizeclass_of(64)));
	void *q = make(48);

	p[0] = q;
	mark_from((uintptr_t)p);
	cr_assert(is_marked(p));
	cr_assert_not(is_marked(q));
}

/* A pointer at 4 and at 1 modulo 8: seen when it may stand there. */
Test(scan_mark, the_alignment_says_where_a_pointer_may_stand, .init = start)
{
	static const unsigned aligns[] = { 8, 4, 1 };
	char *p = make(128);
	void *at4 = make(16), *at1 = make(32), *at_end = make(64);
	void *end_of_range = make(256);
	char range[32] = { 0 };

	memcpy(p + 12, &at4, sizeof at4);
	memcpy(p + 33, &at1, sizeof at1);
	memcpy(p + 120, &at_end, sizeof at_end);
	memcpy(range, &p, sizeof p);
	memcpy(range + 24, &end_of_range, sizeof end_of_range);
	for (unsigned i = 0; i < 3; i++) {
		mark_set_align(aligns[i]);
		cr_assert(mark_start());
		mark_range((uintptr_t)range, (uintptr_t)range + sizeof range);
		mark_drain();
		cr_assert(is_marked(p));
		cr_assert(is_marked(at_end));
		cr_assert(is_marked(end_of_range));
		cr_assert_eq(is_marked(at4), aligns[i] <= 4);
		cr_assert_eq(is_marked(at1), aligns[i] == 1);
		mark_end();
	}
}

Test(scan_mark, a_range_may_begin_anywhere, .init = start)
{
	char *p = make(48), range[32] = { 0 };

	memcpy(range + 4, &p, sizeof p);
	mark_set_align(4);
	cr_assert(mark_start());
	mark_range((uintptr_t)range + 1, (uintptr_t)range + 12);
	mark_drain();
	cr_assert(is_marked(p));
}

/* Across the border of two pieces of a large block. */
Test(scan_mark, an_unaligned_pointer_across_a_border_is_seen, .init = start)
{
	char *p = make(MIB(1));
	void *q = make(48);

	mark_set_align(1);
	memcpy(p + KIB(128) - 3, &q, sizeof q);
	mark_from((uintptr_t)p);
	cr_assert(is_marked(q));
}

static size_t first_16(uintptr_t block, size_t slot_bytes)
{
	(void)block, (void)slot_bytes;
	return 16;
}

Test(scan_mark, only_the_measured_bytes_are_read, .init = start)
{
	void **p = make(64), *q = make(48), *r = make(48);

	p[1] = q;
	p[2] = r;
	cr_assert(mark_start());
	mark_measure_with(first_16);
	mark_word((uintptr_t)p);
	mark_drain();
	cr_assert(is_marked(q));
	cr_assert_not(is_marked(r));
}

/* More blocks wait at once than fit in the memory that work may take. */
Test(scan_mark, nothing_is_lost_when_there_is_no_memory_for_work, .init = start)
{
	enum { N = 20000 };
	void **root = make(N * sizeof *root);

	for (unsigned i = 0; i < N; i++) {
		void **p = make(32);

		p[0] = make(16);
		root[i] = p;
	}
	mark_limit_work(KIB(64));
	mark_from((uintptr_t)root);
	cr_assert_eq(mark_counts().nblocks, 2 * N + 1);
}

Test(scan_mark, without_memory_marking_does_not_start, .init = start)
{
	core_refuse_memory(true);
	cr_assert_not(mark_start());
	core_refuse_memory(false);
	cr_assert(mark_start());
}

Test(scan_mark, with_8_byte_granules_each_block_has_its_bit, .init = core_start_min8)
{
	char *p = make(8), *q = make(8);

	cr_assert_neq(p, q);
	mark_from((uintptr_t)p + 7);
	cr_assert(is_marked(p));
	cr_assert_not(is_marked(q));
}
