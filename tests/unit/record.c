/* record.c: what was asked for and by which stack comes back for blocks of every kind; the program
 * may write all that is usable; blocks are shown by address, each once.
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
	                  : large_alloc(nbytes + 1, 1);
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
		cr_assert_not(r.is_ignored);
		r.is_ignored = true;
		record_set(p, &b, r);
		cr_assert(record_get(p, &b).is_ignored && record_get(p, &b).nbytes == sizes[i]);
		cache_free(p);
	}
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
