/* dirty_uffd.c: random histories of writes to the heap, by whoever can write there.
 *
 * The model is a word for each os page: what is in its first word, and whether it was written since the
 * last time that collect() re-armed, or arm(). A page that was written must be shown; one that was not
 * may be only where it is new, or where a descriptor of ours was lost in between. SEED=n repeats a
 * history.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "core/os.h"
#include "scan/dirty.h"
#include "tests/check.h"
#include "tests/core.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define MAX_PAGES (MIB(48) / OS_PAGE_BYTES)
#define ROUNDS 30
#define STEPS 200                               /* of a round */

enum state { CLEAN, WRITTEN, ANY };             /* ANY: it may be shown or not */

struct setting {
	enum knob_thp thp;
	bool is_limited;                        /* the address space: the heap is mapped as it grows */
	bool loses_fds;
};

static enum state state[MAX_PAGES];
static bool is_shown[MAX_PAGES], is_ours[MAX_PAGES];
static size_t npages;                           /* of the heap, as of the last look */
static uint64_t rng;
static const struct setting *setting;

static size_t below(size_t n)
{
	return (size_t)(next_random(&rng) >> 16) % n;
}

static uintptr_t address(size_t page)
{
	return heap.base + page * OS_PAGE_BYTES;
}

static void note(size_t page, size_t n, enum state s)
{
	for (size_t i = page; i < page + n; i++)
		state[i] = s;
}

/* A block whose pages belong to nobody else. */
static void make_block(void)
{
	size_t nbytes = OS_PAGE_BYTES * (32 + below(600));
	uintptr_t p = (uintptr_t)large_alloc(nbytes, 1), first = (p - heap.base) / OS_PAGE_BYTES;

	cr_assert_neq(p, 0);
	npages = atomic_load_explicit(&heap.nbytes, memory_order_relaxed) / OS_PAGE_BYTES;
	cr_assert_leq(npages, MAX_PAGES);
	for (size_t i = first; i < first + nbytes / OS_PAGE_BYTES; i++)
		is_ours[i] = true;
}

static size_t some_page(void)
{
	for (;;) {
		size_t page = below(npages);

		if (is_ours[page])
			return page;
	}
}

/* Neighbours of ours, from `page` on. */
static size_t run_of(size_t page, size_t most)
{
	size_t n = 1;

	while (n < most && page + n < npages && is_ours[page + n])
		n++;
	return n;
}

static void write_by_pipe(size_t page)
{
	int ends[2];
	size_t n = run_of(page, 8);

	static char some[8 * OS_PAGE_BYTES];
	cr_assert_eq(pipe(ends), 0);
	memset(some, (int)below(200) + 1, sizeof some);
	cr_assert_eq(write(ends[1], some, n * OS_PAGE_BYTES), n * OS_PAGE_BYTES);
	cr_assert_eq(read(ends[0], (void *)address(page), n * OS_PAGE_BYTES), n * OS_PAGE_BYTES);
	close(ends[0]);
	close(ends[1]);
	note(page, n, WRITTEN);
}

static void write_by_kernel(size_t page)
{
	uint64_t word = next_random(&rng);
	struct iovec from = { &word, sizeof word }, to = { (void *)address(page), sizeof word };

	cr_assert_eq(process_vm_writev(getpid(), &from, 1, &to, 1, 0), sizeof word);
	note(page, 1, WRITTEN);
}

/* A child writes to its copy; the parent's pages are shared with it for a while. */
static void fork_and_write(size_t page)
{
	pid_t child = fork();

	if (child == 0) {
		*(uint64_t *)address(some_page()) = 1;
		_exit(0);
	}
	*(uint64_t *)address(page) = next_random(&rng);
	note(page, 1, WRITTEN);
	cr_assert_eq(waitpid(child, NULL, 0), child);
}

/* The program closes what it did not open, or has something of its own there. */
static void lose_fds(void)
{
	bool is_replaced = below(2);

	for (int fd = 200; fd < 260; fd++) {
		if (below(2) && is_replaced && fcntl(fd, F_GETFD) >= 0)
			dup2(1, fd);
		else if (below(2))
			close(fd);
	}
	for (size_t i = 0; i < npages; i++)
		state[i] = state[i] == CLEAN ? ANY : state[i];
}

static void step(void)
{
	size_t page = some_page(), n, kind = below(100);

	if (kind < 50) {
		*(volatile uint64_t *)address(page) = next_random(&rng);
		note(page, 1, WRITTEN);
	} else if (kind < 60) {
		n = run_of(page, below(64) + 1);
		memset((void *)address(page), (int)kind, n * OS_PAGE_BYTES);
		note(page, n, WRITTEN);
	} else if (kind < 65) {
		write_by_pipe(page);
	} else if (kind < 75) {
		write_by_kernel(page);
	} else if (kind < 85) {                 /* reading: of one that is not there, all zero */
		(void)*(volatile uint64_t *)address(page);
		state[page] = state[page] == CLEAN ? ANY : state[page];
	} else if (kind < 95) {
		n = run_of(page, below(40) + 1);
		cr_assert_eq(os_discard(address(page), n * OS_PAGE_BYTES), 0);
		note(page, n, ANY);
	} else if (kind < 96) {
		fork_and_write(page);
	} else if (kind < 97 && npages < MAX_PAGES - MIB(8) / OS_PAGE_BYTES) {
		make_block();
	} else if (kind < 98 && setting->loses_fds && !below(4)) {
		lose_fds();
	} else if (kind == 98) {                /* shown where there is memory */
		n = run_of(page, below(200) + 1);
		dirty_uffd.expect(address(page), address(page + n));
		for (size_t i = page; i < page + n; i++)
			state[i] = state[i] == CLEAN ? ANY : state[i];
	}
}

static void see(uintptr_t from, uintptr_t to, void *arg)
{
	(void)arg;
	cr_assert_lt(from, to);
	for (uintptr_t at = from; at < to; at += OS_PAGE_BYTES) {
		size_t page = (at - heap.base) / OS_PAGE_BYTES;

		cr_assert_lt(page, npages);
		cr_assert(!is_shown[page], "page %zu is shown twice", page);
		is_shown[page] = true;
	}
}

/* Huge pages are split when they are written; what is new comes in as one. */
static void compare(unsigned round)
{
	for (size_t i = 0; i < npages; i++) {
		bool may_be = state[i] != CLEAN || !is_ours[i] || setting->thp == KNOB_THP_ALWAYS;

		cr_assert(is_shown[i] || state[i] != WRITTEN, "round %u: page %zu was written", round, i);
		cr_assert(!is_shown[i] || may_be, "round %u: page %zu was not written", round, i);
	}
}

static void look(unsigned round, bool rearm)
{
	uintptr_t end = address(npages);

	memset(is_shown, 0, sizeof is_shown);
	cr_assert(dirty_collect(&dirty_uffd, heap.base, end, rearm, see, NULL), "round %u", round);
	compare(round);
	if (!rearm)
		return;
	/* After a loss nothing is armed before the next arm(). */
	for (size_t i = 0; i < npages; i++)
		state[i] = setting->loses_fds ? ANY : CLEAN;
}

static void arm(unsigned round)
{
	cr_assert(dirty_uffd.arm(heap.base, address(npages)), "round %u", round);
	memset(state, CLEAN, sizeof state);
}

ParameterizedTestParameters(dirty_uffd, shows_all_that_was_written)
{
	static struct setting settings[] = {
		{ KNOB_THP_NEVER, false, false }, { KNOB_THP_ALWAYS, false, false },
		{ KNOB_THP_NEVER, true, false }, { KNOB_THP_NEVER, false, true },
		{ KNOB_THP_ALWAYS, false, true },
	};

	return cr_make_param_array(struct setting, settings, COUNT(settings));
}

ParameterizedTest(struct setting *s, dirty_uffd, shows_all_that_was_written)
{
	struct rlimit limit = { GIB(64), RLIM_INFINITY };

	if (s->is_limited && CORE_HAS_ASAN)
		cr_skip("no limits under ASan");
	rng = seed_from_env();
	setting = s;
	knobs.thp = s->thp;
	cr_assert(!s->is_limited || setrlimit(RLIMIT_AS, &limit) == 0);
	core_start();
	if (!dirty_uffd.start())
		cr_skip("the kernel has no userfaultfd with WP_ASYNC, or forbids it");
	make_block();
	for (unsigned round = 0; round < ROUNDS; round++) {
		arm(round);
		for (unsigned i = 0; i < 3; i++) {
			for (unsigned j = 0; j < STEPS; j++)
				step();
			look(round, below(2));
		}
	}
}

static void count(uintptr_t from, uintptr_t to, void *sum)
{
	*(size_t *)sum += (to - from) / OS_PAGE_BYTES;
}

Test(dirty_uffd, what_is_expected_to_be_written_counts_as_written)
{
	size_t n = 0;

	knobs.thp = KNOB_THP_NEVER;
	core_start();
	if (!dirty_uffd.start())
		cr_skip("the kernel has no userfaultfd with WP_ASYNC, or forbids it");
	make_block();
	memset((void *)heap.base, 1, 32 * OS_PAGE_BYTES);
	arm(0);
	dirty_expect(address(3), address(20));
	cr_assert(dirty_collect(&dirty_uffd, heap.base, address(npages), true, count, &n));
	cr_assert_eq(n, 17);
	cr_assert(dirty_collect(&dirty_uffd, heap.base, address(npages), false, count, &n));
	cr_assert_eq(n, 17);
	dirty_fork_child();                     /* not of the parent's */
	dirty_expect(address(0), address(3));
}
