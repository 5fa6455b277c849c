/* pages_cost.c: what the page level costs when the heap is large and broken into pieces.
 *
 * Bitmaps and summaries only: no heap stands behind them, so 1 TiB takes 66 MiB here. Linked with
 * core, not preloaded. Each figure is the fastest of 5 rounds, in nanoseconds:
 *     pair    pages_alloc() and pages_free() of the same run, over and over
 *     batch   1,000 runs (or as many as fit) taken, then freed in random order; an alloc and a free
 *     claim   pages_cache_claim() and pages_cache_return(); in a row at least 1 or 16 pages
 *     dirty   pages_dirty_aged() over the whole heap, in microseconds
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "core/pages.h"
#include "tests/bench/random.h"

#define NROUNDS 5
#define NPAIRS 2000
#define BATCH 1000

static struct pages p;
static struct pages_mix mix;

static void *zeroed(size_t nbytes)
{
	void *m = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (m == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return m;
}

/* --- states: the free pages of a group of 64, as ones --- */

static uint64_t every_other(page_idx group)
{
	(void)group;
	return UINT64_C(0x5555555555555555);
}

static uint64_t random_tenth(page_idx group)
{
	uint64_t free = 0;

	(void)group;
	for (unsigned i = 0; i < 64; i++)
		free |= (uint64_t)(next_random() % 10 == 0) << i;
	return free;
}

static uint64_t nothing(page_idx group)
{
	(void)group;
	return 0;
}

/* Free and used in turn, for up to 16 MiB each. */
static uint64_t long_runs(page_idx group)
{
	static uint64_t word;
	static page_idx left;

	if (group == 0 || left == 0) {
		word = ~word;
		left = 1 + (page_idx)(next_random() % 32);
	}
	left--;
	return word;
}

static const struct shape {
	const char *name;
	uint64_t (*free)(page_idx group);
} shapes[] = {
	{ "every other page", every_other },
	{ "random, 90 % used", random_tenth },
	{ "only the tail", nothing },
	{ "long runs", long_runs },
};

/* The last eighth is free in every shape, so that all that is asked for fits somewhere. */
static void build(page_idx npages, const struct shape *shape)
{
	size_t nchunks = npages / PAGES_CHUNK;

	pages_init(&p, zeroed(nchunks * pages_chunk_bytes()), zeroed(pages_summary_bytes(npages)),
	           npages);
	pages_grow(&p, npages);
	pages_take(&p, 0, npages, &mix);
	pages_free(&p, npages / 8 * 7, npages / 8, PAGES_DIRTY, 0);
	for (page_idx at = 0; at < npages / 8 * 7; at += PAGES_GROUP) {
		struct pages_cache c = {
			.free = shape->free(at / PAGES_GROUP),
			.first = at,
			.is_claimed = true,
		};
		pages_cache_return(&p, &c, 0);
	}
}

static void drop(page_idx npages)
{
	munmap(p.chunks, npages / PAGES_CHUNK * pages_chunk_bytes());
	munmap(p.level[0], pages_summary_bytes(npages));
}

/* --- what is timed; each returns how often it did it --- */

static unsigned pairs(page_idx npages)
{
	for (unsigned i = 0; i < NPAIRS; i++)
		pages_free(&p, pages_alloc(&p, npages, 1, &mix), npages, PAGES_DIRTY, 0);
	return NPAIRS;
}

static unsigned batch(page_idx npages)
{
	static page_idx first[BATCH];
	unsigned n = 0;

	while (n < BATCH && (first[n] = pages_alloc(&p, npages, 1, &mix)) != PAGE_NONE)
		n++;
	for (unsigned left = n; left; left--) {
		unsigned i = (unsigned)(next_random() % left);

		pages_free(&p, first[i], npages, PAGES_DIRTY, 0);
		first[i] = first[left - 1];
	}
	return n;
}

static unsigned claims(page_idx wanted)
{
	static struct pages_cache cache;

	for (unsigned i = 0; i < NPAIRS; i++) {
		if (!pages_cache_claim(&p, &cache, wanted))
			return i + 1;
		pages_cache_return(&p, &cache, 0);
	}
	return NPAIRS;
}

static unsigned aged(page_idx unused)
{
	(void)unused;
	if (pages_dirty_aged(&p, 1) > p.npages)
		abort();
	return 1;
}

static double nanoseconds(unsigned (*timed)(page_idx), page_idx npages)
{
	double best = 1e9;

	for (unsigned i = 0; i < NROUNDS; i++) {
		double start = seconds();
		unsigned n = timed(npages);
		double each = (seconds() - start) / n;

		best = each < best ? each : best;
	}
	return best * 1e9;
}

static void print_row(const char *heap, const struct shape *shape)
{
	static const page_idx lengths[] = { 1, 4, 16, 512 };

	printf("%-7s %-18s", heap, shape->name);
	for (unsigned i = 0; i < 4; i++)
		printf(" %5.0f", nanoseconds(pairs, lengths[i]));
	printf("  ");
	for (unsigned i = 0; i < 4; i++)
		printf(" %5.0f", nanoseconds(batch, lengths[i]));
	printf("   %5.0f %5.0f", nanoseconds(claims, 1), nanoseconds(claims, 16));
	printf("   %7.1f\n", nanoseconds(aged, 0) / 1e3);
	fflush(stdout);
}

int main(void)
{
	static const struct heap {
		const char *name;
		page_idx npages;
	} heaps[] = {
		{ "1 GiB", UINT32_C(1) << 17 },
		{ "64 GiB", UINT32_C(1) << 23 },
		{ "1 TiB", UINT32_C(1) << 27 },
	};

	printf("%-26s  %-24s%-26s%-16s%s\n", "", "pair (ns), pages", "batch (ns), pages",
	       "claim (ns)", "dirty");
	printf("%-26s %s   %s   %s   %7s\n", "heap    free pages", "    1     4    16   512",
	       "    1     4    16   512", "   1    16", "us");
	for (unsigned h = 0; h < sizeof heaps / sizeof *heaps; h++)
		for (unsigned s = 0; s < sizeof shapes / sizeof *shapes; s++) {
			build(heaps[h].npages, &shapes[s]);
			print_row(heaps[h].name, &shapes[s]);
			drop(heaps[h].npages);
		}
	return 0;
}
