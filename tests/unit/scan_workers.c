/* scan_workers.c: several workers mark what one marks, whatever the graph; and their threads. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "scan/mark.h"
#include "scan/work.h"
#include "scan/workers.h"
#include "tests/check.h"
#include "tests/core.h"

static uint64_t rng;

#define WORDS 8
#define NBLOCKS 60000                           /* read in more than MARK_ALONE_BYTES */
#define NROOTS 20

static uintptr_t **block, **sorted;
static size_t nblocks;
static bool *is_reachable;

static void start(void)
{
	core_start();
	mark_set_align(sizeof(uintptr_t));
	mark_limit_work(SIZE_MAX);
	workers_pretend(NULL, NULL);
}

static void make_blocks(size_t n, size_t nbytes)
{
	nblocks = n;
	block = calloc(n, sizeof *block);
	is_reachable = calloc(n, 1);
	for (size_t i = 0; i < n; i++) {
		block[i] = core_malloc(nbytes);
		cr_assert_not_null(block[i]);
		memset(block[i], 0, nbytes);
	}
}

/* By their first word, which is no pointer, blocks know their numbers. */
static void make_random_graph(unsigned degree)
{
	make_blocks(NBLOCKS, WORDS * sizeof(uintptr_t));
	for (size_t i = 0; i < nblocks; i++) {
		block[i][0] = i;
		for (unsigned k = 0; k < degree; k++) {
			uintptr_t to = (uintptr_t)block[next_random(&rng) % nblocks];

			if (next_random(&rng) % 8 == 0)
				to += next_random(&rng) % 64;       /* inside */
			if (next_random(&rng) % 16 == 0)
				to |= next_random(&rng) << 48;      /* tagged */
			block[i][1 + next_random(&rng) % (WORDS - 1)] = to;
		}
	}
}

static int by_address(const void *a, const void *b)
{
	const uintptr_t *x = *(uintptr_t *const *)a, *y = *(uintptr_t *const *)b;

	return x < y ? -1 : x > y;
}

/* The reference knows where the blocks are, and nothing of the heap. */
static size_t number_of(uintptr_t word)
{
	uintptr_t p = word & ((UINT64_C(1) << 48) - 1);
	size_t low = 0, high = nblocks;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if ((uintptr_t)sorted[middle] <= p)
			low = middle;
		else
			high = middle;
	}
	return p - (uintptr_t)sorted[low] < WORDS * sizeof p ? sorted[low][0] : SIZE_MAX;
}

static size_t reach(const uintptr_t *root, size_t nroots)
{
	size_t *list = calloc(nblocks, sizeof *list), n = 0, count = 0;

	sorted = malloc(nblocks * sizeof *sorted);
	memcpy(sorted, block, nblocks * sizeof *sorted);
	qsort(sorted, nblocks, sizeof *sorted, by_address);
	memset(is_reachable, 0, nblocks);
	for (size_t i = 0; i < nroots; i++) {
		size_t to = number_of(root[i]);

		if (to < nblocks && !is_reachable[to]) {
			is_reachable[to] = true;
			list[n++] = to;
		}
	}
	while (n) {
		const uintptr_t *b = block[list[--n]];

		count++;
		for (unsigned k = 1; k < WORDS; k++) {
			size_t to = number_of(b[k]);

			if (to < nblocks && !is_reachable[to]) {
				is_reachable[to] = true;
				list[n++] = to;
			}
		}
	}
	free(list);
	free(sorted);
	return count;
}

static void mark_from(const uintptr_t *root, size_t nroots, unsigned nworkers)
{
	mark_set_workers(nworkers);
	cr_assert(mark_start());
	mark_range((uintptr_t)root, (uintptr_t)(root + nroots));
	mark_drain();
}

static void expect_reachable(size_t count, unsigned nworkers)
{
	cr_assert_eq(mark_counts().nblocks, count, "%u workers", nworkers);
	for (size_t i = 0; i < nblocks; i++)
		cr_assert_eq(mark_is_marked((uintptr_t)block[i]), is_reachable[i], "%zu, %u workers",
		             i, nworkers);
}

/* Sparse enough for much not to be reached, and dense enough for all. */
ParameterizedTestParameters(scan_workers, random_graphs_are_marked_as_by_the_reference)
{
	static unsigned degree[] = { 1, 2, 3, 7 };

	return cr_make_param_array(unsigned, degree, sizeof degree / sizeof *degree);
}

ParameterizedTest(unsigned *degree, scan_workers, random_graphs_are_marked_as_by_the_reference)
{
	uintptr_t root[NROOTS];
	size_t count;

	start();
	rng = seed_from_env();
	make_random_graph(*degree);
	for (unsigned i = 0; i < NROOTS; i++)
		root[i] = (uintptr_t)block[next_random(&rng) % nblocks];
	count = reach(root, NROOTS);
	for (unsigned n = 1; n <= 8; n++) {
		mark_from(root, NROOTS, n);
		expect_reachable(count, n);
		mark_end();
	}
}

Test(scan_workers, a_graph_is_marked_with_little_memory_for_work, .init = start)
{
	size_t count;

	rng = seed_from_env();
	make_random_graph(7);
	count = reach((uintptr_t *)block, NROOTS);
	mark_limit_work(KIB(64));
	for (unsigned n = 1; n <= 8; n++) {
		mark_from((uintptr_t *)block, NROOTS, n);
		expect_reachable(count, n);
		mark_end();
	}
}

Test(scan_workers, long_lists_side_by_side_are_followed_to_their_ends, .init = start)
{
	make_blocks(4 * NBLOCKS, 32);
	for (size_t i = 4; i < nblocks; i++)
		block[i - 4][3] = (uintptr_t)block[i];
	for (unsigned n = 1; n <= 8; n++) {
		mark_from((uintptr_t *)block, 4, n);
		cr_assert_eq(mark_counts().nblocks, nblocks, "%u workers", n);
		mark_end();
	}
}

Test(scan_workers, a_deep_tree_is_marked_whole, .init = start)
{
	make_blocks(4 * NBLOCKS, 32);
	for (size_t i = 1; i < nblocks; i++)
		block[(i - 1) / 2][(i - 1) % 2] = (uintptr_t)block[i];
	for (unsigned n = 1; n <= 8; n++) {
		mark_from((uintptr_t *)block, 1, n);
		cr_assert_eq(mark_counts().nblocks, nblocks, "%u workers", n);
		mark_end();
	}
}

Test(scan_workers, a_huge_block_is_read_in_pieces_by_all, .init = start)
{
	uintptr_t *table;

	make_blocks(4 * NBLOCKS, 16);
	table = core_malloc(nblocks * sizeof *table + 24);
	memcpy(table, block, nblocks * sizeof *table);
	memset(table + nblocks, 0, 24);
	for (unsigned n = 1; n <= 8; n++) {
		mark_from((uintptr_t *)&table, 1, n);
		cr_assert_eq(mark_counts().nblocks, nblocks + 1, "%u workers", n);
		mark_end();
	}
}

/* No multiple of a piece, and not at a word: each pointer of it counts all the same. */
Test(scan_workers, a_large_root_is_shared_out, .init = start)
{
	static const unsigned aligns[] = { 8, 4, 1 };
	char *root;

	make_blocks(3 * NBLOCKS + 7, 16);
	root = malloc(nblocks * sizeof *block + 64);
	for (unsigned i = 0; i < 3; i++) {
		unsigned shift = 16 - aligns[i] % 8;

		memset(root, 0, nblocks * sizeof *block + 64);
		memcpy(root + shift, block, nblocks * sizeof *block);
		mark_set_align(aligns[i]);
		for (unsigned n = 1; n <= 8; n += 3) {
			mark_set_workers(n);
			cr_assert(mark_start());
			mark_range((uintptr_t)root + shift - aligns[i] / 8,
			           (uintptr_t)root + shift + nblocks * sizeof *block);
			mark_drain();
			cr_assert_eq(mark_counts().nblocks, nblocks, "%u workers, %u", n, aligns[i]);
			mark_end();
		}
	}
	free(root);
}

static unsigned nasked, nallowed;

static bool refuse(unsigned number, void (*fn)(unsigned number))
{
	(void)number, (void)fn;
	nasked++;
	return false;
}

static void wait_for_none(void)
{
}

Test(scan_workers, without_threads_the_first_worker_does_it_all, .init = start)
{
	rng = seed_from_env();
	make_random_graph(3);

	size_t count = reach((uintptr_t *)block, NROOTS);

	workers_pretend(refuse, wait_for_none);
	mark_from((uintptr_t *)block, NROOTS, 8);
	cr_assert_eq(nasked, 1);
	expect_reachable(count, 8);
}

/* The real ones. */
static bool start_some(unsigned number, void (*fn)(unsigned number))
{
	bool is_started = false;

	workers_pretend(NULL, NULL);
	if (nasked++ < nallowed)
		is_started = workers_start(number, fn);
	workers_pretend(start_some, NULL);
	return is_started;
}

Test(scan_workers, fewer_threads_than_wanted_are_enough, .init = start)
{
	rng = seed_from_env();
	make_random_graph(3);

	size_t count = reach((uintptr_t *)block, NROOTS);

	for (nallowed = 0; nallowed < 4; nallowed++) {
		nasked = 0;
		workers_pretend(start_some, NULL);
		mark_from((uintptr_t *)block, NROOTS, 8);
		cr_assert_eq(nasked, nallowed + 1);
		expect_reachable(count, nallowed);
		mark_end();
	}
}

Test(scan_workers, a_small_heap_is_marked_without_threads, .init = start)
{
	make_blocks(1000, 64);
	workers_pretend(refuse, wait_for_none);
	mark_from((uintptr_t *)block, nblocks, 8);
	cr_assert_eq(mark_counts().nblocks, 1000);
	cr_assert_eq(nasked, 0);
}

/* As a snapshot is one: libc does not know of it, and of its threads it has one. */
Test(scan_workers, a_clone_of_the_process_has_workers_too, .init = start)
{
	int status;
	long child;

	rng = seed_from_env();
	make_random_graph(3);

	size_t count = reach((uintptr_t *)block, NROOTS);

	for (unsigned round = 0; round < 2; round++) {
		child = syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
		if (child == 0) {
			mark_set_workers(4);
			bool is_well = mark_start();

			mark_range((uintptr_t)block, (uintptr_t)(block + NROOTS));
			mark_drain();
			is_well &= mark_counts().nblocks == count;
			syscall(SYS_exit_group, is_well ? 7 : 1);
		}
		cr_assert(child > 0);
		cr_assert_eq(waitpid((pid_t)child, &status, __WALL), child);
		cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7, "%#x", status);
		mark_from((uintptr_t *)block, NROOTS, 4);
		expect_reachable(count, 4);
		mark_end();
	}
}

/* --- the threads themselves --- */

static _Atomic uint32_t ntimes[WORKERS_MAX];
static _Atomic uint64_t blocked[WORKERS_MAX];

static void note(unsigned number)
{
	uint64_t mask = 0;

	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof mask);
	atomic_store(&blocked[number], mask);
	atomic_fetch_add(&ntimes[number], 1);
}

Test(scan_workers, each_thread_runs_once_and_is_awaited)
{
	for (unsigned round = 1; round <= 3; round++) {
		for (unsigned i = 1; i < WORKERS_MAX; i++)
			cr_assert(workers_start(i, note));
		workers_wait();
		for (unsigned i = 1; i < WORKERS_MAX; i++)
			cr_assert_eq(ntimes[i], round);
		workers_drop();
	}
}

Test(scan_workers, threads_block_every_signal_and_their_creator_none_more)
{
	uint64_t before = 0, after = 0;
	const uint64_t never = UINT64_C(1) << (SIGKILL - 1) | UINT64_C(1) << (SIGSTOP - 1);

	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &before, sizeof before);
	errno = 77;
	cr_assert(workers_start(1, note));
	workers_wait();
	cr_assert_eq(errno, 77);
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &after, sizeof after);
	cr_assert_eq(before, after);
	cr_assert_eq(blocked[1] | never, UINT64_MAX);
}

Test(scan_workers, their_number_goes_by_the_processors_or_by_the_knob)
{
	cpu_set_t all, one;
	unsigned n;

	cr_assert_eq(sched_getaffinity(0, sizeof all, &all), 0);
	n = (unsigned)CPU_COUNT(&all);
	cr_assert_eq(workers_wanted(WORKERS_ALONE), n < 8 ? n : 8);
	cr_assert_eq(workers_wanted(WORKERS_BESIDE), n < 8 ? 1 : n / 4 < 32 ? n / 4 : 32);
	CPU_ZERO(&one);
	for (unsigned i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++) {
		if (CPU_ISSET(i, &all))
			CPU_SET(i, &one);
	}
	cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
	cr_assert_eq(workers_wanted(WORKERS_ALONE), 1);
	knobs.gc_workers = 5;
	cr_assert_eq(workers_wanted(WORKERS_ALONE), 5);
	cr_assert_eq(workers_wanted(WORKERS_BESIDE), 5);
}

/* --- the lists --- */

static struct work_pool lists;
static _Atomic bool has_taken;

/* Takes the last piece, and goes when the first worker sleeps. */
static void *take_and_go(void *arg)
{
	struct work w = { 0 };
	work_item item;

	(void)arg;
	work_enter(&lists);
	cr_assert(work_join(&w, &lists));
	while (!work_pop(&w, &item))
		sched_yield();
	atomic_store(&has_taken, true);
	usleep(50000);
	while (w.top->n || w.other->n)
		cr_assert(work_pop(&w, &item));
	work_leave(&w);
	work_exit(&lists);
	return NULL;
}

Test(scan_workers, who_goes_with_the_last_piece_wakes_the_first, .timeout = 100)
{
	struct work w = { 0 };
	pthread_t thread;

	cr_assert(work_start(&lists, KIB(64)));
	cr_assert(work_join(&w, &lists));
	work_enter(&lists);
	cr_assert_eq(pthread_create(&thread, NULL, take_and_go, NULL), 0);
	for (unsigned i = 0; i < 8; i++)
		cr_assert(work_push(&w, work_item_of(64 + i * 64, 1)));
	while (!atomic_load(&has_taken)) {
		work_ask(&lists);
		work_share(&w);
		sched_yield();
	}
	for (work_item item; work_pop(&w, &item);)
		;
	while (work_wait(&w, 0))
		for (work_item item; work_pop(&w, &item);)
			;
	pthread_join(thread, NULL);
}

static atomic_bool is_enough;

static void *spin(void *arg)
{
	while (!is_enough)
		;
	return arg;
}

Test(scan_workers, no_processor_is_spared_while_all_are_wanted)
{
	pthread_t thread[65];
	unsigned n = workers_processors() < 64 ? workers_processors() + 1 : 0;

	if (!n)
		cr_skip_test("too many processors");
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, spin, NULL), 0);
	cr_assert_not(workers_can_be_spared());
	is_enough = true;
	for (unsigned i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
}
