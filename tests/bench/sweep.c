/* sweep.c: how fast the sweep goes over a heap, and what a reclaimed block costs.
 *
 * usage: sweep [MIB]
 *
 * Blocks of each size fill MIB (256) of heap; all, all but one of 64, every second one and none has a
 * mark. `finish` is sweep_finish(); `again` what it takes to look for each block, and to allocate those
 * that were reclaimed once more.
 */
#include "tests/core.h"

#include "core/sweep.h"
#include "tests/bench/random.h"

static void **block;
static size_t nblocks;

static void fill(size_t nbytes, size_t total)
{
	nblocks = total / nbytes;
	block = malloc(nblocks * sizeof *block);
	for (size_t i = 0; i < nblocks; i++)
		block[i] = core_malloc(nbytes - 1);
}

static size_t heap_bytes(void)
{
	return atomic_load_explicit(&heap.nbytes, memory_order_relaxed);
}

/* Of `of` blocks, in no order, `n` have a mark. */
static void mark(unsigned n, unsigned of)
{
	marks_clear(heap_bytes());
	for (size_t i = 0; i < nblocks; i++) {
		if (next_random() % of < n)
			marks_set((uintptr_t)block[i]);
	}
}

static void measure(size_t nbytes, unsigned n, unsigned of)
{
	mark(n, of);
	atomic_store_explicit(&marks.is_black, true, memory_order_relaxed);
	sweep_begin(heap_bytes());

	double start = seconds();

	while (sweep_some(MIB(1)))
		;

	double took = seconds() - start;

	atomic_store_explicit(&marks.is_black, false, memory_order_relaxed);
	start = seconds();
	sweep_finish();

	double finish = seconds() - start;
	struct sweep_counts c = sweep_counts();

	start = seconds();
	for (size_t i = 0; i < nblocks; i++) {
		struct block b;

		if (!block_find(block[i], &b))
			block[i] = core_malloc(nbytes - 1);
	}

	double again = seconds() - start;

	printf("%6zu bytes, %2u of %2u marked: %6.1f GB/s, %6.1f ns a reclaimed block; finish %5.2f ms; "
	       "again %5.1f ns a block\n",
	       nbytes, n, of, (double)heap_bytes() / took / 1e9,
	       c.nblocks ? took * 1e9 / (double)c.nblocks : 0, finish * 1e3,
	       c.nblocks ? again * 1e9 / (double)nblocks : 0);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 16, 32, 64, 256, 1024, 8192 };
	size_t total = MIB(argc > 1 ? strtoul(argv[1], NULL, 0) : 256);

	core_start_gc();
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		fill(sizes[i], total);
		measure(sizes[i], 1, 1);
		measure(sizes[i], 63, 64);
		measure(sizes[i], 1, 2);
		measure(sizes[i], 0, 1);
		for (size_t j = 0; j < nblocks; j++)
			cache_free(block[j]);
		free(block);
	}
	return 0;
}
