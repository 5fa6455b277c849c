/* gc_trees.c: binary trees, made and dropped: with free() by a walk, or left to the collector.
 *
 * usage: gc_trees DEPTH free|leave
 *
 * The well-known benchmark: a tree of DEPTH that stays, and for each even depth from 4 to DEPTH as
 * many trees as make the same number of nodes. Prints elapsed_s, cpu_s (of all threads), peak_mib and
 * the sum of all checks, which is the same for every collector.
 */
#include "tests/bench/gc_bench.h"

#define LEAST_DEPTH 4

struct tree {
	struct tree *left, *right;
};

static bool is_freed;

static struct tree *make(unsigned depth)
{
	struct tree *t = gc_new(sizeof *t);

	if (!t)
		fail("no memory");
	t->left = depth ? make(depth - 1) : NULL;
	t->right = depth ? make(depth - 1) : NULL;
	return t;
}

static unsigned long nodes_of(const struct tree *t)
{
	return t ? 1 + nodes_of(t->left) + nodes_of(t->right) : 0;
}

static void drop(struct tree *t)
{
	if (!t)
		return;
	drop(t->left);
	drop(t->right);
	free(t);
}

static unsigned long make_and_drop(unsigned depth)
{
	struct tree *t = make(depth);
	unsigned long n = nodes_of(t);

	if (is_freed)
		drop(t);
	return n;
}

int main(int argc, char **argv)
{
	uint64_t started = now_ns();
	unsigned depth = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
	unsigned long sum;
	struct tree *kept;

	if (argc != 3 || depth <= LEAST_DEPTH)
		fail("usage: gc_trees DEPTH free|leave");
	gc_start();
	is_freed = !strcmp(argv[2], "free");
	sum = make_and_drop(depth + 1);
	kept = make(depth);
	for (unsigned d = LEAST_DEPTH; d <= depth; d += 2) {
		for (unsigned long i = 1ul << (depth - d + LEAST_DEPTH); i > 0; i--)
			sum += make_and_drop(d);
	}
	sum += nodes_of(kept);
	printf("elapsed_s=%.3f cpu_s=%.3f peak_mib=%zu sum=%lu\n", (double)(now_ns() - started) / 1e9,
	       (double)cpu_ns() / 1e9, status_kb("VmHWM:") / 1024, sum);
	return 0;
}
