/* phases.c: memory over time, for `spangc rss`: what each way of giving it back does.
 *
 *     phases [-m MIB] [-i IDLE_MS] [-n ROUNDS] [-s SEED] MODE
 *
 *   phases   grows to MIB, frees 90 % of the blocks at random, idles, grows to MIB again, idles
 *            for a tenth of that
 *   drop     the same without the second growth
 *   churn    holds MIB of small blocks and replaces random ones, ROUNDS times as many as there
 *            are, without a pause
 *   buffers  ROUNDS times, every 100 ms: buffers of 1 to 64 MiB, MIB in all, written and held for
 *            50 ms
 *
 * Every byte of a block is written once. In phases and drop, sizes are spread evenly over the
 * powers of two from 16 bytes to 4 MiB: half of the blocks are below 8 KiB, most bytes are in
 * large ones. (Of small blocks alone, every tenth that stays pins a page of its own: no allocator
 * that may not move blocks could give much back.) Work is fixed by the seed, not by the clock.
 *
 * At the end of each phase one line:
 *   phase      its name
 *   live_kb    bytes the program holds by malloc, as it asked for them
 *   base_kb    resident before the first block was made, the harness's arrays included
 *   rss_kb, lazy_kb    Rss and LazyFree of /proc/self/smaps_rollup
 */
#include "bench.h"

#define MIB ((size_t)1 << 20)
#define SIZE_BITS_MIN 4
#define SIZE_BITS_MAX 22
#define BUFFER_PERIOD_MS 100
#define BUFFER_HOLD_MS 50
#define BUFFER_MAX (64 * MIB)

struct block {
	void  *at;
	size_t nbytes;
};

static struct {
	size_t   bytes;                         /* -m */
	unsigned idle_ms, nrounds;
	uint64_t seed;
	struct block *block;
	size_t   nblocks, most;
	size_t   live_bytes, base_kb;
} w = { .bytes = 1000 * MIB, .idle_ms = 3000, .nrounds = 20, .seed = 42 };

static void rest(unsigned ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

static size_t smaps_kb(const char *field)
{
	return proc_kb("/proc/self/smaps_rollup", field);
}

static void tell(const char *phase)
{
	dprintf(STDOUT_FILENO, "phase=%s live_kb=%zu base_kb=%zu rss_kb=%zu lazy_kb=%zu\n", phase,
	        w.live_bytes / 1024, w.base_kb, smaps_kb("\nRss:"), smaps_kb("\nLazyFree:"));
}

static void make(size_t k, size_t nbytes)
{
	void *p = malloc(nbytes);

	if (p == NULL)
		bench_fail("out of memory");
	memset(p, 1, nbytes);
	w.block[k] = (struct block){ .at = block_fill(p, nbytes), .nbytes = nbytes };
	w.live_bytes += nbytes;
}

static void drop(size_t k)
{
	block_drop(w.block[k].at);
	w.live_bytes -= w.block[k].nbytes;
}

static void begin(size_t most)
{
	w.most = most;
	w.block = raw(most * sizeof *w.block);
	w.base_kb = smaps_kb("\nRss:");
}

/* Evenly over the powers of two. */
static size_t spread_size(void)
{
	unsigned bits = SIZE_BITS_MIN + (unsigned)rng_below(&w.seed, SIZE_BITS_MAX - SIZE_BITS_MIN);

	return ((size_t)1 << bits) + rng_below(&w.seed, (size_t)1 << bits);
}

static void grow(void)
{
	while (w.live_bytes < w.bytes) {
		if (w.nblocks == w.most)
			bench_fail("more blocks than thought");
		make(w.nblocks, spread_size());
		w.nblocks++;
	}
}

static void free_most(void)
{
	size_t nleft = w.nblocks / 10;

	while (w.nblocks > nleft) {
		size_t k = rng_below(&w.seed, w.nblocks);

		drop(k);
		w.block[k] = w.block[--w.nblocks];
	}
}

static void run_drop(void)
{
	begin(w.bytes / 32768);
	grow();
	tell("grown");
	free_most();
	tell("freed");
	rest(w.idle_ms);
	tell("idle");
}

static void run_phases(void)
{
	run_drop();
	grow();
	tell("again");
	rest(w.idle_ms / 10);
	tell("end");
}

static void run_churn(void)
{
	mixed_init();
	begin(w.bytes / 64);
	while (w.live_bytes < w.bytes) {
		make(w.nblocks, mixed_size(w.nblocks));
		w.nblocks++;
	}
	tell("grown");
	for (size_t n = w.nrounds * w.nblocks; n > 0; n--) {
		size_t k = rng_below(&w.seed, w.nblocks);

		drop(k);
		make(k, mixed_size(n));
	}
	tell("end");
}

static void run_buffers(void)
{
	begin(w.bytes / MIB + 1);
	for (unsigned i = 0; i < w.nrounds; i++) {
		while (w.live_bytes < w.bytes) {
			size_t left = w.bytes - w.live_bytes;
			size_t most = left < BUFFER_MAX ? left : BUFFER_MAX;

			make(w.nblocks++, most <= MIB ? MIB : MIB + rng_below(&w.seed, most - MIB));
		}
		if (i == 0)
			tell("grown");
		rest(BUFFER_HOLD_MS);
		while (w.nblocks > 0)
			drop(--w.nblocks);
		rest(BUFFER_PERIOD_MS - BUFFER_HOLD_MS);
	}
	tell("end");
}

static int usage(const char *name)
{
	dprintf(STDERR_FILENO, "usage: %s [-m MIB] [-i IDLE_MS] [-n ROUNDS] [-s SEED] "
	        "phases|drop|churn|buffers\n", name);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} modes[] = {
		{ "phases", run_phases }, { "drop", run_drop }, { "churn", run_churn },
		{ "buffers", run_buffers },
	};
	int option;

	while ((option = getopt(argc, argv, "m:i:n:s:")) != -1) {
		unsigned long value = option == '?' ? 0 : strtoul(optarg, NULL, 10);

		switch (option) {
		case 'm': w.bytes = value * MIB; break;
		case 'i': w.idle_ms = (unsigned)value; break;
		case 'n': w.nrounds = (unsigned)value; break;
		case 's': w.seed = value ? value : 1; break;
		default: return usage(argv[0]);
		}
	}
	for (size_t i = 0; i < sizeof modes / sizeof *modes && optind + 1 == argc; i++) {
		if (strcmp(argv[optind], modes[i].name) != 0)
			continue;
		modes[i].run();
		return 0;
	}
	return usage(argv[0]);
}
