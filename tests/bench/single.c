/* single.c: patterns of one thread; CPU time of the process.
 *
 * Pairs move on to other addresses every few thousand operations: at a single
 * place a pair measures how that place happens to lie to the allocator's own
 * data, which makes a factor of two.
 */
#include "bench.h"

#define PAIR_PLACES    64
#define PAIR_HELD      7                        /* blocks kept at each place */
#define PAIR_OPS       150000                   /* at each place */

static void pair_loop(size_t nbytes, size_t nwritten)
{
	for (size_t i = 0; i < PAIR_OPS; i++) {
		size_t *p = malloc(nbytes);

		if (nwritten > 0)
			memset(p, (int)i, nwritten);
		else
			*p = i;
		keep(p);
		free(p);
	}
}

/* `nwritten` 0: one word is written, and the loop calls nothing but malloc and free. */
static void pair(size_t nbytes, size_t nwritten)
{
	void **held = raw(PAIR_PLACES * PAIR_HELD * sizeof *held);
	size_t nheld = 0;

	for (size_t place = 0; place < PAIR_PLACES; place++) {
		for (size_t i = 0; i < PAIR_HELD; i++)
			held[nheld++] = block_make(nbytes);
		timer_start();
		pair_loop(nbytes, nwritten);
		timer_stop(PAIR_OPS);
	}
	while (nheld > 0)
		block_drop(held[--nheld]);
}

/* Batches of blocks of one size, freed forwards and backwards by turns. */
static void batch(size_t nblocks, size_t nbytes)
{
	void **block = raw(nblocks * sizeof *block);
	size_t nrounds = 12000000 / nblocks;

	timer_start();
	for (size_t r = 0; r < nrounds; r++) {
		for (size_t i = 0; i < nblocks; i++)
			block[i] = block_make(nbytes);
		for (size_t i = 0; i < nblocks; i++)
			block_drop(block[r % 2 ? i : nblocks - 1 - i]);
	}
	timer_stop(nrounds * nblocks);
}

enum order { ORDER_LIFO, ORDER_FIFO, ORDER_RANDOM };

static uint32_t *order_make(size_t nblocks, enum order order)
{
	uint32_t *at = raw(nblocks * sizeof *at);
	uint64_t seed = 7;

	for (size_t i = 0; i < nblocks; i++)
		at[i] = (uint32_t)(order == ORDER_LIFO ? nblocks - 1 - i : i);
	for (size_t i = nblocks - 1; order == ORDER_RANDOM && i > 0; i--) {
		size_t j = rng_below(&seed, i + 1);
		uint32_t swap = at[i];

		at[i] = at[j];
		at[j] = swap;
	}
	return at;
}

/* Makes all, drops all in the order given. One round beforehand is not timed: it
 * pays the first page faults, which cost every allocator the same. */
static void fill_and_drain(size_t nblocks, size_t order)
{
	void **block = raw(nblocks * sizeof *block);
	uint32_t *at = order_make(nblocks, (enum order)order);
	size_t nrounds = 1 + (nblocks < 1000000 ? 2000000 / nblocks : 1);

	for (size_t r = 0; r < nrounds; r++) {
		timer_start();
		for (size_t i = 0; i < nblocks; i++)
			block[i] = block_make(mixed_size(i + r * 1021));
		for (size_t i = 0; i < nblocks; i++)
			block_drop(block[at[i]]);
		if (r > 0)
			timer_stop(nblocks);
	}
}

/* A steady population: a random block goes, another comes. */
static void churn(size_t nblocks, size_t nops)
{
	void **block = raw(nblocks * sizeof *block);
	uint64_t seed = 3;

	for (size_t i = 0; i < nblocks; i++)
		block[i] = block_make(mixed_size(i));
	timer_start();
	for (size_t i = 0; i < nops; i++) {
		size_t k = rng_below(&seed, nblocks);

		block_drop(block[k]);
		block[k] = block_make(mixed_size(k + i));
	}
	timer_stop(nops);
}

static char *resized(char *p, size_t nbytes)
{
	p = realloc(p, nbytes);
	if (p == NULL)
		bench_fail("out of memory");
	p[nbytes - 1] = 1;
	keep(p);
	return p;
}

/* Several arrays grow in turn by a half each time, as dynamic arrays do. */
static void realloc_grow(size_t narrays, size_t most)
{
	char **array = raw(narrays * sizeof *array);

	for (size_t r = 0; r < 500; r++) {
		size_t nops = 0;

		timer_start();
		for (size_t nbytes = 16; nbytes < most; nbytes += nbytes / 2)
			for (size_t i = 0; i < narrays; i++, nops++)
				array[i] = resized(array[i], nbytes);
		for (size_t i = 0; i < narrays; i++) {
			free(array[i]);
			array[i] = NULL;
		}
		timer_stop(nops);
	}
}

/* One element at a time, with no spare capacity. */
static void realloc_push(size_t step, size_t most)
{
	for (size_t r = 0; r < 1000; r++) {
		char *p = NULL;

		timer_start();
		for (size_t nbytes = step; nbytes <= most; nbytes += step)
			p = resized(p, nbytes);
		free(p);
		timer_stop(most / step);
	}
}

/* One big vector is filled, and grows by a half each time it is full. */
static void realloc_vector(size_t least, size_t most)
{
	for (size_t r = 0; r < 5; r++) {
		char *p = NULL;
		size_t filled = 0, nops = 0;

		timer_start();
		for (size_t nbytes = least; nbytes <= most; nbytes += nbytes / 2, nops++) {
			p = resized(p, nbytes);
			memset(p + filled, 1, nbytes - filled);
			filled = nbytes;
			keep(p);
		}
		free(p);
		timer_stop(nops);
	}
}

/* Small and middling tables from calloc, a thousand at a time, freed in their order. */
static void calloc_mixed(size_t nblocks, size_t nrounds)
{
	void **block = raw(nblocks * sizeof *block);

	timer_start();
	for (size_t r = 0; r < nrounds; r++) {
		for (size_t i = 0; i < nblocks; i++) {
			size_t nbytes = mixed_size(r * nblocks + i);
			char *p = calloc(1, nbytes);

			if (p == NULL || p[0] != 0 || p[nbytes - 1] != 0)
				bench_fail("calloc gave no zeroes");
			block[i] = block_fill(p, nbytes);
		}
		for (size_t i = 0; i < nblocks; i++)
			block_drop(block[i]);
	}
	timer_stop(nrounds * nblocks);
}

/* Big tables from calloc of which one os page in four is used, as in hash tables. */
static void calloc_sparse(size_t nslots, size_t nops)
{
	char **block = raw(nslots * sizeof *block);
	uint64_t seed = 11;

	timer_start();
	for (size_t i = 0; i < nops; i++) {
		size_t nbytes = (size_t)65536 << rng_below(&seed, 5);
		size_t k = rng_below(&seed, nslots);

		free(block[k]);
		block[k] = calloc(nbytes / 8, 8);
		if (block[k] == NULL)
			bench_fail("out of memory");
		for (size_t at = 0; at < nbytes; at += (size_t)4 * 4096) {
			if (block[k][at] != 0)
				bench_fail("calloc gave no zeroes");
			block[k][at] = 1;
		}
		keep(block[k]);
	}
	timer_stop(nops);
}

/* Buffers of 64 KiB to 4 MiB come and go; each os page of them is written. */
static void large(size_t nslots, size_t nops)
{
	char **block = raw(nslots * sizeof *block);
	uint64_t seed = 5;

	timer_start();
	for (size_t i = 0; i < nops; i++) {
		size_t base = (size_t)65536 << rng_below(&seed, 6);
		size_t nbytes = base + rng_below(&seed, base + 1);
		size_t k = rng_below(&seed, nslots);

		free(block[k]);
		block[k] = block_make(nbytes);
		for (size_t at = 4096; at < nbytes; at += 4096)
			block[k][at] = 1;
		keep(block[k]);
	}
	timer_stop(nops);
}

#define CPU CLOCK_PROCESS_CPUTIME_ID

static const struct row rows[] = {
	{ "pair-16", pair, 16, 0, CPU },
	{ "pair-48", pair, 48, 0, CPU },
	{ "pair-256-written", pair, 256, 256, CPU },
	{ "pair-2048", pair, 2048, 0, CPU },
	{ "batch-50", batch, 50, 64, CPU },
	{ "batch-1000", batch, 1000, 64, CPU },
	{ "lifo-10k", fill_and_drain, 10000, ORDER_LIFO, CPU },
	{ "fifo-10k", fill_and_drain, 10000, ORDER_FIFO, CPU },
	{ "random-10k", fill_and_drain, 10000, ORDER_RANDOM, CPU },
	{ "lifo-100k", fill_and_drain, 100000, ORDER_LIFO, CPU },
	{ "fifo-100k", fill_and_drain, 100000, ORDER_FIFO, CPU },
	{ "random-100k", fill_and_drain, 100000, ORDER_RANDOM, CPU },
	{ "lifo-1M", fill_and_drain, 1000000, ORDER_LIFO, CPU },
	{ "fifo-1M", fill_and_drain, 1000000, ORDER_FIFO, CPU },
	{ "random-1M", fill_and_drain, 1000000, ORDER_RANDOM, CPU },
	{ "churn-10k", churn, 10000, 4000000, CPU },
	{ "churn-1M", churn, 1000000, 1000000, CPU },
	{ "realloc-grow", realloc_grow, 10, 100000, CPU },
	{ "realloc-push", realloc_push, 16, 100000, CPU },
	{ "realloc-vector", realloc_vector, 65536, (size_t)64 << 20, CPU },
	{ "calloc-mixed", calloc_mixed, 1000, 2000, CPU },
	{ "calloc-sparse", calloc_sparse, 32, 4000, CPU },
	{ "large-blocks", large, 16, 4000, CPU },
};

int main(int argc, char **argv)
{
	return bench_main(argc, argv, rows, sizeof rows / sizeof *rows);
}
