/* mark.c: how fast marking goes through graphs of 64-byte blocks.
 *
 *     build/release/tests/bench/mark [MIB [PAGES WORKERS]]
 *
 * MIB of blocks, 256 unless told; in pages of 4KiB or 2MiB; by 1 or more workers. Without PAGES and
 * WORKERS both sizes, by 1 and 2 workers. Linked with core, not preloaded. Each block has two
 * children in a tree of all blocks, one pointer to any block, and five words that are no pointers.
 * Rows:
 *     sequential   a block's children lie behind it, near each other for much of the tree
 *     order        the same, and the pointer to any block is to the next one
 *     random       blocks stand in the tree in random order
 *     list         instead of the tree one random list: each step waits for memory
 *     tables       pointers to all blocks in one large block, in random order; no others
 *     dirty        the random tree is marked, and a hundredth of its os pages, at random, are read again
 * Figures: blocks a second, and megabytes (10^6) read a second; of dirty, nanoseconds a page; the fastest
 * of 3 rounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "scan/mark.h"
#include "tests/core.h"
#include "tests/bench/random.h"

#define NROUNDS 3
#define BLOCK_BYTES 64

struct node {
	struct node *left, *right, *any;
	uint64_t other[5];
};

_Static_assert(sizeof(struct node) == BLOCK_BYTES, "");

static struct node **block;                     /* in the order of their allocation */
static uint32_t *order;
static size_t nblocks;
static void *root;
static unsigned nworkers = 1;

static void shuffle(void)
{
	for (size_t i = nblocks - 1; i > 0; i--) {
		size_t k = next_random() % (i + 1);
		uint32_t kept = order[i];

		order[i] = order[k];
		order[k] = kept;
	}
}

static struct node *at(size_t i)
{
	return i < nblocks ? block[order[i]] : NULL;
}

static void make_tree(bool is_in_order)
{
	for (size_t i = 0; i < nblocks; i++) {
		struct node *n = at(i);

		n->left = at(2 * i + 1);
		n->right = at(2 * i + 2);
		n->any = block[(is_in_order ? i + 1 : next_random()) % nblocks];
		for (unsigned k = 0; k < 5; k++)
			n->other[k] = i * 5 + k;
	}
	root = at(0);
}

static void make_list(void)
{
	for (size_t i = 0; i < nblocks; i++) {
		at(i)->left = at(i + 1);
		at(i)->right = at(i)->any = NULL;
	}
	root = at(0);
}

static void make_table(void)
{
	struct node **table = large_alloc(nblocks * sizeof *table, 1);

	for (size_t i = 0; i < nblocks; i++) {
		table[i] = at(i);
		at(i)->left = NULL;
	}
	root = table;
}

static void measure(const char *name, const char *pages, size_t expected)
{
	double best = 1e9, started, took;
	struct mark_counts counts = { 0 };

	for (unsigned round = 0; round < NROUNDS; round++) {
		mark_set_workers(nworkers);
		check(mark_start());
		mark_word((uintptr_t)block[0]);         /* the bits' first pages are there */
		started = seconds();
		mark_range((uintptr_t)&root, (uintptr_t)(&root + 1));
		mark_drain();
		took = seconds() - started;
		counts = mark_counts();
		mark_end();
		best = took < best ? took : best;
	}
	check(counts.nblocks == expected);
	printf("%-12s %-6s %2u workers %8.1f million blocks/s %8.0f MB/s\n", name, pages, nworkers,
	       (double)counts.nblocks / best / 1e6, (double)counts.nbytes / best / 1e6);
	fflush(stdout);
}

static void measure_dirty(const char *pages)
{
	size_t npages = nblocks * BLOCK_BYTES / OS_PAGE_BYTES, n = npages / 100;
	double best = 1e9, started, took;
	uintptr_t *page = malloc(n * sizeof *page);

	for (unsigned round = 0; round < NROUNDS; round++) {
		mark_set_workers(nworkers);
		check(mark_start());
		mark_call_helpers(nworkers);
		mark_range((uintptr_t)&root, (uintptr_t)(&root + 1));
		mark_drain();
		for (size_t i = 0; i < n; i++)
			page[i] = align_down((uintptr_t)block[next_random() % nblocks], OS_PAGE_BYTES);
		mark_stopped();
		started = seconds();
		for (size_t i = 0; i < n; i++)
			mark_dirty(page[i], page[i] + OS_PAGE_BYTES);
		mark_drain();
		took = seconds() - started;
		mark_end();
		best = took < best ? took : best;
	}
	printf("%-12s %-6s %2u workers %8.0f ns a page\n", "dirty", pages, nworkers, best / (double)n * 1e9);
	free(page);
}

/* The heap's pages are of one kind in a process. */
static int run_all(const char *self, size_t mib)
{
	static const char *const kinds[] = { "4KiB 1", "4KiB 2", "2MiB 1", "2MiB 2" };
	char command[4096];
	int status = 0;

	for (unsigned i = 0; i < 4 && !status; i++) {
		snprintf(command, sizeof command, "%s %zu %s", self, mib, kinds[i]);
		status = system(command);
	}
	return status != 0;
}

int main(int argc, char **argv)
{
	size_t nbytes = MIB(argc > 1 ? strtoull(argv[1], NULL, 0) : 256);
	const char *pages = argc > 3 ? argv[2] : "4KiB";

	if (argc <= 3)
		return run_all(argv[0], nbytes >> 20);
	nworkers = (unsigned)atoi(argv[3]);
	knobs.thp = pages[0] == '2' ? KNOB_THP_ALWAYS : KNOB_THP_NEVER;
	core_start();
	nblocks = nbytes / BLOCK_BYTES;
	block = malloc(nblocks * sizeof *block);
	order = malloc(nblocks * sizeof *order);
	for (size_t i = 0; i < nblocks; i++) {
		block[i] = cache_alloc(BLOCK_BYTES);
		order[i] = (uint32_t)i;
	}
	make_tree(false);
	measure("sequential", pages, nblocks);
	make_tree(true);
	measure("order", pages, nblocks);
	shuffle();
	make_tree(false);
	measure("random", pages, nblocks);
	measure_dirty(pages);
	make_list();
	measure("list", pages, nblocks);
	make_table();
	measure("tables", pages, nblocks + 1);
	return 0;
}
