/* cycles.c: whole cycles by every way of seeing writes: what is led to stays, what is not goes; minor
 * cycles; threads that can't be stopped; forks in every phase.
 *
 * Each way in a process of its own. The program is a main thread, whose lists hang on static variables
 * only, and what each stage starts.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/marks.h"
#include "scan/cycle.h"
#include "scan/dirty.h"
#include "scan/roots.h"
#include "scan/snapshot.h"
#include "scan/threads.h"
#include "tests/core.h"
#include "tests/scan_begin.h"

#define NBLOCKS 20000
#define NHIDDEN 1000
#define NNEW 10
#define NFORKS 60
#define LARGE_BYTES KIB(300)

#ifdef __SANITIZE_THREAD__
enum { HAS_TSAN = true };
#else
enum { HAS_TSAN = false };
#endif

struct node {
	struct node *next;
	uintptr_t number;
	char rest[80];
};

extern char __data_start[], _end[];             /* the linker's: the library's own variables, too */

static struct node *volatile kept;              /* the only way to it */
static uintptr_t hidden[NHIDDEN];               /* inverted: not led to by these */
static _Atomic bool is_over;

static bool is_allocated(const void *p)
{
	struct block b;

	return block_find((void *)p, &b);
}

__attribute__((noinline)) static struct node *make_list(uintptr_t n)
{
	struct node *first = NULL;

	for (uintptr_t i = 0; i < n; i++) {
		struct node *made = core_malloc(sizeof *made);

		made->next = first;
		made->number = i;
		first = made;
	}
	return first;
}

__attribute__((noinline)) static uintptr_t length(void)
{
	uintptr_t n = 0;

	for (const struct node *at = kept; at; at = at->next, n++)
		check(is_allocated(at));
	return n;
}

/* Whatever is left of calls before is gone from stack and registers. */
__attribute__((noinline)) static void wipe(void)
{
	volatile char zero[KIB(16)];

	for (size_t i = 0; i < sizeof zero; i++)
		zero[i] = 0;
}

static unsigned nkept;                          /* lists that were inserted, and are there */

/* Blocks that nothing leads to, the last one a large one. */
__attribute__((noinline)) static void lose(void)
{
	for (unsigned i = 0; i < NHIDDEN; i++)
		hidden[i] = ~(uintptr_t)core_malloc(i == NHIDDEN - 1 ? LARGE_BYTES : 16 + i % 500);
}

__attribute__((noinline)) static unsigned count_lost(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NHIDDEN; i++)
		n += !is_allocated((void *)~hidden[i]);
	return n;
}

/* A word that looks like an address may be about. */
static bool is_nearly(unsigned n)
{
	return n >= NHIDDEN - 20;
}

static bool run(enum cycle_kind kind, bool keeps_marks)
{
	lose();
	wipe();

	bool is_done = cycle_run(kind, keeps_marks);

	check(cycle_phase() == CYCLE_OFF);
	/* relaxed: this thread's own. */
	check(!atomic_load_explicit(&marks.is_black, memory_order_relaxed));
	return is_done;
}

static void reclaims(const char *way)
{
	kept = make_list(NBLOCKS);
	for (unsigned i = 0; i < 5; i++) {
		check(run(CYCLE_FULL, false));
		check(is_nearly(count_lost()));
		check(length() == NBLOCKS);
	}
	struct cycle_last last = cycle_last();

	check(!last.failure && strcmp(last.dirty, way) == 0);
	check(last.live_blocks >= NBLOCKS && last.reclaimed_blocks >= NHIDDEN / 2);
	check(last.number == 5);
}

/* Hangs a new list behind an old block, whose page was read and armed. */
__attribute__((noinline)) static void insert(unsigned behind)
{
	struct node *old = kept;
	struct node *made = make_list(NNEW);
	struct node *end = made;

	while (behind--)
		old = old->next;
	while (end->next)
		end = end->next;
	end->next = old->next;
	old->next = made;
}

static void minor_ones(void)
{
	check(run(CYCLE_FULL, true));
	if (!cycle_can_be_minor())
		return;
	for (unsigned i = 1; i <= 5; i++) {
		insert(1000 * i);
		check(run(CYCLE_MINOR, true));
		check(cycle_last().kind == CYCLE_MINOR);
		check(is_nearly(count_lost()));
		check(length() == NBLOCKS + NNEW * i);
		struct cycle_last last = cycle_last();

		/* Roots are read beside the program and in the stop: under ASan these are 2.7 MB. */
		check(last.read_bytes - 2 * last.root_bytes < NBLOCKS * sizeof(struct node));
	}
	/* What was old and is lost now: not before a full one. */
	kept = NULL;
	check(run(CYCLE_MINOR, false) && cycle_last().reclaimed_blocks < NBLOCKS / 2);
	check(run(CYCLE_FULL, false) && cycle_last().reclaimed_blocks > NBLOCKS);
	kept = make_list(NBLOCKS);
}

static void *be_deaf(void *pipe)
{
	sigset_t all;
	char c;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	check(write(((int *)pipe)[1], "x", 1) == 1);
	check(read(((int *)pipe)[2], &c, 1) == 1);
	return NULL;
}

static pthread_t create(void *(*start)(void *), void *arg)
{
	pthread_t thread;

	check(pthread_create(&thread, NULL, scan_begin, scan_thread_plan(start, arg, false)) == 0);
	return thread;
}

/* What was marked and written by then is good for nothing: the next cycle is a full one. */
static void a_deaf_thread(enum cycle_kind kind)
{
	int up[2], down[2];
	char c;

	check(pipe(up) == 0 && pipe(down) == 0);

	int fds[] = { up[0], up[1], down[0] };
	pthread_t thread = create(be_deaf, fds);

	check(read(up[0], &c, 1) == 1);
	check(!run(kind, true));
	check(!cycle_can_be_minor());
	check(strcmp(cycle_last().failure, "a thread did not stop") == 0);
	check(!count_lost());
	insert(100);
	check(write(down[1], "x", 1) == 1);
	pthread_join(thread, NULL);
	check(run(CYCLE_MINOR, true) && cycle_last().kind == CYCLE_FULL && is_nearly(count_lost()));
	check(length() == ++nkept * NNEW + NBLOCKS);
}

static void *allocate(void *arg)
{
	struct node *own = NULL;

	/* relaxed: it stops a little later. */
	while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
		own = make_list(100);
		cycle_assist(KIB(4));
		for (unsigned i = 100; own; own = own->next)
			check(own->number == --i);
	}
	cache_detach();
	return arg;
}

static void *collect(void *arg)
{
	/* relaxed: it stops a little later. */
	while (!atomic_load_explicit(&is_over, memory_order_relaxed))
		cycle_run(CYCLE_FULL, false);
	return arg;
}

static void after_fork(void)
{
	snapshot_fork_child();
	cache_fork_child();
	scavenge_fork_child();
	scan_threads_fork_child();
	roots_fork_child();
	cycle_fork_child();
	check(cycle_phase() == CYCLE_OFF && !cycle_can_be_minor());
	check(run(CYCLE_FULL, false));
	check(is_nearly(count_lost()));
	check(length() == nkept * NNEW + NBLOCKS);
	core_verify();
	_exit(0);
}

static void fork_here(void)
{
	int status;

	cache_fork_prepare();

	pid_t pid = fork();

	if (!pid)
		after_fork();
	cache_fork_parent();
	check(pid > 0 && waitpid(pid, &status, 0) == pid);
	check(status == 0);
}

static void forks(void)
{
	check(run(CYCLE_FULL, true));
	fork_here();

	pthread_t other = create(allocate, NULL), collector = create(collect, NULL);

	for (unsigned i = 0; i < NFORKS; i++) {
		usleep(200 + i * 97 % 3000);
		fork_here();
	}
	atomic_store_explicit(&is_over, true, memory_order_relaxed);
	pthread_join(other, NULL);
	pthread_join(collector, NULL);
	check(length() == nkept * NNEW + NBLOCKS);
}

/* What it reads once more is not counted. */
static void verifying_counts_nothing(void)
{
	struct cycle_last without, with;

	knobs.verify = 0;
	check(run(CYCLE_FULL, false));
	without = cycle_last();
	knobs.verify = 1;
	check(run(CYCLE_FULL, false));
	with = cycle_last();
	check(with.root_bytes < without.root_bytes / 2 * 3);
	check(with.live_bytes < without.live_bytes / 2 * 3);
	check(with.read_bytes < without.read_bytes / 2 * 3);
}

static int in_this_process(const char *way, unsigned number)
{
	knobs.gc_dirty = number;
	knobs.verify = 1;
	core_start_gc();
	check(scan_threads_start());
	roots_exclude((uintptr_t)__data_start, (uintptr_t)_end);
	check(roots_add((void *)&kept, sizeof kept));
	check(snapshot_start() && cycle_start());
	if (strcmp(dirty_choose()->name, way) != 0) {
		printf("%s: not here\n", way);
		return 0;
	}
	reclaims(way);
	verifying_counts_nothing();
	minor_ones();
	a_deaf_thread(CYCLE_FULL);
	if (!dirty_choose()->arms_stopped)      /* while that is armed nobody is deaf */
		a_deaf_thread(CYCLE_MINOR);
	fprintf(stderr, "forks %s %d\n", way, getpid());
	forks();
	return 0;
}

int main(void)
{
	static const struct { const char *name; unsigned number; } ways[] = {
		{ "stw", KNOB_GC_DIRTY_STW }, { "uffd", KNOB_GC_DIRTY_UFFD },
		{ "snapshot", KNOB_GC_DIRTY_SNAPSHOT }, { "mprotect", KNOB_GC_DIRTY_MPROTECT },
	};
	int result = 0;

	if (HAS_TSAN)                           /* where a stop finds a thread in its own locks */
		return 0;
	for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
		pid_t pid = fork();
		int status;

		if (!pid)
			exit(in_this_process(ways[i].name, ways[i].number));
		check(waitpid(pid, &status, 0) == pid);
		if (status) {
			printf("%s: status %x\n", ways[i].name, (unsigned)status);
			result = 1;
		}
	}
	return result;
}
