/* record.c: what was asked for, by which stack and thread and when comes back for blocks of every
 * kind; the program may write all that is usable; blocks are shown by address, each once; moments
 * are rounded down and keep their order.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "core/record.h"
#include "tests/core.h"

#include <string.h>

static void start(void)
{
	knobs.mode = KNOB_MODE_LEAKS;
	core_start();
}

static struct block find(const void *p)
{
	struct block b;

	cr_assert(block_find(p, &b));
	return b;
}

static void *make(size_t nbytes, uint32_t stack)
{
	size_t with = nbytes + RECORD_BYTES;
	void *p = with <= SIZECLASS_MAX
	                  ? cache_alloc_class(sizeclass_of_in(heap.classes, with))
	                  : large_alloc(with, 1);
	struct block b = find(p);

	record_set(p, &b, (struct record){ .nbytes = nbytes, .stack = stack });
	return p;
}

TestSuite(record, .init = start);

Test(record, comes_back_whatever_is_written_into_the_block)
{
	static const size_t sizes[] = { 0, 1, 8, 9, 24, 25, 1000, 1016, 1017, 4096, 32759, 32760,
		                        32761, 32768, 65535, 65536, 1 << 20 };

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		uint32_t stack = i % 2 ? RECORD_STACK_MAX : (uint32_t)i;
		void *p = make(sizes[i], stack);
		struct block b = find(p);

		cr_assert_geq(b.usable, sizes[i]);
		memset(p, 0xff, b.usable);

		struct record r = record_get(p, &b);

		cr_assert_eq(r.nbytes, sizes[i], "%zu, not %zu", r.nbytes, sizes[i]);
		cr_assert_eq(r.stack, stack);
		cr_assert_not(r.is_ignored || r.is_reported || r.thread || r.birth);
		cache_free(p);
	}
}

static void keeps(void *p, const struct block *b, struct record r)
{
	record_set(p, b, r);

	struct record got = record_get(p, b);

	cr_assert(got.nbytes == r.nbytes && got.stack == r.stack && got.thread == r.thread);
	cr_assert(got.birth == r.birth && got.is_ignored == r.is_ignored);
	cr_assert(got.is_reported == r.is_reported);
}

Test(record, fields_are_apart)
{
	static const size_t sizes[] = { 0, 24, 32760, 1 << 20 };

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		size_t n = sizes[i];
		void *p = make(n, 0);
		struct block b = find(p);

		keeps(p, &b, (struct record){ .nbytes = n });
		keeps(p, &b, (struct record){ .nbytes = n, .stack = RECORD_STACK_MAX });
		keeps(p, &b, (struct record){ .nbytes = n, .thread = RECORD_THREAD_MANY });
		keeps(p, &b, (struct record){ .nbytes = n, .birth = RECORD_BIRTH_MAX });
		keeps(p, &b, (struct record){ .nbytes = n, .is_ignored = true });
		keeps(p, &b, (struct record){ .nbytes = n, .is_reported = true });
	}
}

Test(record, births_are_exact_at_first_and_to_a_1024th_later)
{
	const uint64_t end = record_birth_ms(RECORD_BIRTH_MAX);

	cr_assert_gt(end, UINT64_C(97) * 24 * 3600 * 1000);
	for (unsigned birth = 0; birth < RECORD_BIRTH_MAX; birth++) {
		uint64_t ms = record_birth_ms(birth), next = record_birth_ms(birth + 1);

		cr_assert_lt(ms, next, "birth %u", birth);
		cr_assert_leq(next - ms, ms / 1024 > 250 ? ms / 1024 : 250, "birth %u", birth);
		cr_assert_eq(record_birth_of(ms), birth);
		cr_assert_eq(record_birth_of(next - 1), birth);
	}
	cr_assert_eq(record_birth_of(end), RECORD_BIRTH_MAX);
	cr_assert_eq(record_birth_of(UINT64_MAX), RECORD_BIRTH_MAX);
}

Test(record, births_count_from_the_start)
{
	record_start();
	cr_assert_leq(record_birth_now(), record_birth_of(60 * 1000));
}

Test(record, that_was_overwritten_stays_within_the_block)
{
	void *p = make(100, 5);
	struct block b = find(p);

	memset(p, 0xff, b.usable + RECORD_BYTES);
	cr_assert_leq(record_get(p, &b).nbytes, b.usable);
}

struct seen {
	uintptr_t last;
	size_t n, nbytes;
};

static void see(const void *p, const struct block *b, void *arg)
{
	struct seen *seen = arg;

	cr_assert_gt((uintptr_t)p, seen->last);
	seen->last = (uintptr_t)p;
	seen->n++;
	seen->nbytes += record_get(p, b).nbytes;
}

Test(record, every_block_is_visited_once_by_address)
{
	struct seen before = { 0 }, after = { 0 };
	size_t total = 0, n = 0;
	void *odd[100];

	record_visit_blocks(see, &before);
	for (size_t nbytes = 0; nbytes < 200; nbytes++) {
		void *p = make(nbytes * nbytes * 2, 1);

		if (nbytes % 2)
			odd[nbytes / 2] = p;
		else
			total += nbytes * nbytes * 2, n++;
	}
	for (size_t i = 0; i < 100; i++)
		cache_free(odd[i]);
	record_visit_blocks(see, &after);
	cr_assert_eq(after.n - before.n, n);
	cr_assert_eq(after.nbytes - before.nbytes, total);
}
