/* gc_pause.c: the longest stall that a running thread sees while cycles are forced.
 *
 * usage: gc_pause MIB random|order HOT,... BASE_MS NCYCLES
 *
 * MIB of live nodes of 56 bytes (slots of 64), linked as a tree whose nodes lie in random order, or in
 * the order of allocation, each with one more pointer, to any node or to its neighbour. For each HOT, a
 * percentage of the pages, one thread swaps pointers between nodes of that part as fast as it can, with
 * a new block every thousand swaps, and reads the clock every 32: NCYCLES times BASE_MS without a cycle,
 * then a forced one. "quiet" for HOT: no thread runs. A line NAME=VALUE for each HOT:
 *     nodes cycle_ms cycle_cpu_ms      medians; processor time is all threads', the mutator's not
 *     stall_us stall_median_us         the longest of all cycles; median over cycles of the longest
 *     stall_999_us stall_99_us         of all batches of 32 swaps during cycles
 *     base_us                          the longest between cycles: the machine's own
 *     speed base_mops                  swaps a second during cycles, as part of those without; those
 *     speed_cpu                        the same by a second of the thread's own processor time: what is
 *                                      lost here is lost to faults and memory, the rest to others' turns
 *     speed_beside                     as speed, beside a thread that only computes, as long as a cycle
 *
 * The nodes are reached by one pointer a page, not by all: that table would be memory to mark, too.
 */
#include "tests/bench/gc_bench.h"

#include <sys/mman.h>

#define NODES_PER_PAGE 64
#define OPS_PER_BATCH 32
#define BATCHES_PER_NEW 32
#define NCYCLES_MAX 100
#define REST_MS 20

struct node {
	struct node *left, *right, *any;
	uint64_t other[4];
};

_Static_assert(sizeof(struct node) == 56, "with a byte or a word more still a slot of 64");

enum phase { REST, BASE, CYCLE, BESIDE, NPHASES };

static struct node *root, **leader;             /* the first node of each page */
static size_t nnodes, nleaders;

static struct {
	_Atomic size_t nhot;                    /* leaders; 0: stand still */
	_Atomic int phase;
	_Atomic bool is_over;

	/* The mutator's; read by the other thread when it rests. */
	_Alignas(64) struct delays delays[NPHASES];
	uint64_t ns[NPHASES], nops[NPHASES], cpu_ns[NPHASES];
	_Atomic uint64_t longest_ns;            /* since the cycle began */
} run;

/* ---- The heap */

static size_t common_divisor(size_t a, size_t b)
{
	return b ? common_divisor(b, a % b) : a;
}

/* Position in the tree -> node, a bijection: multiplication by what shares no factor with nnodes. */
static size_t stride_for(bool is_random)
{
	size_t stride = is_random ? (size_t)((double)nnodes * 0.6180339887) | 1 : 1;

	while (common_divisor(stride, nnodes) != 1)
		stride += 2;
	return stride;
}

static void link_nodes(struct node **node, bool is_random)
{
	uint64_t seed = 88172645463325252u;
	size_t stride = stride_for(is_random);
	size_t at = 0;

	for (size_t i = 0; i < nnodes; i++) {
		size_t left = (2 * i + 1) * stride % nnodes, right = (2 * i + 2) * stride % nnodes;
		struct node *n = node[at];

		n->left = 2 * i + 1 < nnodes ? node[left] : NULL;
		n->right = 2 * i + 2 < nnodes ? node[right] : NULL;
		n->any = node[is_random ? random_below(&seed, nnodes) : (at + 1) % nnodes];
		for (size_t k = 0; k < COUNT(n->other); k++)
			n->other[k] = i * 5 + k;
		at = (at + stride) % nnodes;
	}
	root = node[0];
}

static void build(size_t mib, bool is_random)
{
	size_t table_bytes;
	struct node **node;

	nnodes = MIB(mib) / 64;
	nleaders = nnodes / NODES_PER_PAGE;
	table_bytes = nnodes * sizeof *node;
	node = mmap(NULL, table_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (node == MAP_FAILED)
		fail("no memory");
	gc_pause_collector(true);
	leader = gc_new(nleaders * sizeof *leader);
	for (size_t i = 0; i < nnodes; i++) {
		node[i] = gc_new(sizeof **node);
		if (!node[i])
			fail("no memory");
		if (i % NODES_PER_PAGE == 0 && i / NODES_PER_PAGE < nleaders)
			leader[i / NODES_PER_PAGE] = node[i];
	}
	link_nodes(node, is_random);
	munmap(node, table_bytes);
	gc_pause_collector(false);
}

/* ---- The mutator */

static void swap_some(size_t nhot, uint64_t *seed)
{
	for (int i = 0; i < OPS_PER_BATCH; i++) {
		struct node *a = leader[random_below(seed, nhot)], *b = leader[random_below(seed, nhot)];
		struct node *kept = a->any;

		a->any = b->any;
		b->any = kept;
	}
}

/* The block that it replaces is garbage from then on. */
static void replace_one(size_t nhot, uint64_t *seed)
{
	struct node *n = gc_new(sizeof *n);

	n->left = n->right = NULL;
	n->any = root;
	leader[random_below(seed, nhot)]->other[0] = (uint64_t)n;
}

static void note(int phase, uint64_t ns)
{
	delay_note(&run.delays[phase], ns);
	run.ns[phase] += ns;
	run.nops[phase] += OPS_PER_BATCH;
	if (ns > atomic_load_explicit(&run.longest_ns, memory_order_relaxed))
		atomic_store_explicit(&run.longest_ns, ns, memory_order_relaxed);
}

static void *mutate(void *arg)
{
	uint64_t seed = 1234567, last = now_ns(), now, cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	int phase = REST, next;

	for (unsigned batch = 0; !run.is_over; batch++) {
		size_t nhot = run.nhot;

		if (!nhot) {
			sleep_ms(1);
			last = now_ns();
			continue;
		}
		swap_some(nhot, &seed);
		if (batch % BATCHES_PER_NEW == 0)
			replace_one(nhot, &seed);
		now = now_ns();
		next = run.phase;
		note(next > BASE ? next : phase, now - last);
		last = now;
		if (next != phase) {
			uint64_t used = clock_ns(CLOCK_THREAD_CPUTIME_ID);

			run.cpu_ns[phase] += used - cpu;
			cpu = used;
			phase = next;
		}
	}
	return arg;
}

/* ---- Cycles */

static void go_through(enum phase phase, long ms)
{
	run.phase = phase;
	sleep_ms(ms);
	run.phase = REST;
}

/* What a machine takes from a thread whose neighbour is busy, collector or not. */
static void compute_for(uint64_t ns)
{
	static volatile uint64_t sum;
	uint64_t until = now_ns() + ns, seed = 1;

	run.phase = BESIDE;
	while (now_ns() < until) {
		for (int i = 0; i < 1000; i++)
			next_random(&seed);
		sum += seed;
	}
	run.phase = REST;
	sleep_ms(REST_MS);
}

/* Millions a second: elapsed, or of the thread's own. */
static double speed(enum phase phase, const uint64_t *ns)
{
	return ns[phase] ? (double)run.nops[phase] * 1000 / (double)ns[phase] : 0;
}

static double part_of_base(enum phase phase, const uint64_t *ns)
{
	return speed(BASE, ns) > 0 ? speed(phase, ns) / speed(BASE, ns) : 0;
}

static void measure(const char *hot, long base_ms, unsigned ncycles)
{
	static uint64_t cycle_ns[NCYCLES_MAX], used_ns[NCYCLES_MAX], longest_ns[NCYCLES_MAX];
	double part = strcmp(hot, "quiet") ? atof(hot) / 100 : 0;
	uint64_t longest = 0;

	run.phase = REST;
	run.nhot = part > 0 ? (size_t)((double)nleaders * part) + 1 : 0;
	if (run.nhot > nleaders)
		run.nhot = nleaders;
	sleep_ms(200);
	memset(run.delays, 0, sizeof run.delays);
	memset(run.ns, 0, sizeof run.ns);
	memset(run.nops, 0, sizeof run.nops);
	memset(run.cpu_ns, 0, sizeof run.cpu_ns);
	for (unsigned i = 0; i < ncycles; i++) {
		uint64_t started, used, others;

		go_through(BASE, base_ms);
		sleep_ms(REST_MS);
		others = run.cpu_ns[CYCLE];
		run.longest_ns = 0;
		run.phase = CYCLE;
		started = now_ns();
		used = cpu_ns();
		gc_collect();
		cycle_ns[i] = now_ns() - started;
		used_ns[i] = cpu_ns() - used;
		run.phase = REST;
		sleep_ms(REST_MS);
		used_ns[i] -= run.nhot ? run.cpu_ns[CYCLE] - others : 0;
		longest_ns[i] = run.longest_ns;
		longest = longest_ns[i] > longest ? longest_ns[i] : longest;
		if (run.nhot)
			compute_for(cycle_ns[i]);
	}
	printf("hot=%s nodes=%zu cycle_ms=%.2f cycle_cpu_ms=%.2f stall_us=%.1f stall_median_us=%.1f "
	       "stall_999_us=%.1f stall_99_us=%.1f base_us=%.1f speed=%.3f speed_cpu=%.3f speed_beside=%.3f "
	       "base_mops=%.2f rss_mib=%zu\n",
	       hot, nnodes, (double)median(cycle_ns, ncycles) / 1e6, (double)median(used_ns, ncycles) / 1e6,
	       (double)longest / 1e3, (double)median(longest_ns, ncycles) / 1e3,
	       (double)delay_quantile(&run.delays[CYCLE], 0.999) / 1e3,
	       (double)delay_quantile(&run.delays[CYCLE], 0.99) / 1e3,
	       (double)run.delays[BASE].longest_ns / 1e3,
	       part_of_base(CYCLE, run.ns), part_of_base(CYCLE, run.cpu_ns), part_of_base(BESIDE, run.ns),
	       speed(BASE, run.ns), status_kb("VmRSS:") / 1024);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	pthread_t thread;
	unsigned ncycles = argc > 5 ? (unsigned)atoi(argv[5]) : 0;

	if (argc != 6 || ncycles < 1 || ncycles > NCYCLES_MAX)
		fail("usage: gc_pause MIB random|order HOT,... BASE_MS NCYCLES");
	gc_start();
	if (!gc_can_collect())
		fail("nothing here collects");
	build((size_t)atol(argv[1]), !strcmp(argv[2], "random"));
	if (pthread_create(&thread, NULL, mutate, NULL))
		fail("no thread");
	gc_collect();
	for (char *hot = strtok(argv[3], ","); hot; hot = strtok(NULL, ","))
		measure(hot, atol(argv[4]), ncycles);
	run.is_over = true;
	pthread_join(thread, NULL);
	return 0;
}
