/* dirty_mprotect.c: the heap protected: granules, threads, stacks, limits. What the kernel writes
 * is dirty_calls.c's, handlers and masks are dirty_signals.c's. */
#include <pthread.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "tests/unit/dirty_mprotect.h"

RUNS(a_store_makes_its_granule_dirty_and_no_other)
{
	char *p = fresh();

	open_window();
	check(!is_dirty(p));
	check(p[GUARD_GRANULE] == 0x5a);
	check(!is_dirty(p + GUARD_GRANULE));
	p[GUARD_GRANULE] = 1;
	check(is_dirty(p + GUARD_GRANULE));
	check(!is_dirty(p + 3 * GUARD_GRANULE));
	close_window();
	p[3 * GUARD_GRANULE] = 2;
	check(p[GUARD_GRANULE] == 1 && p[3 * GUARD_GRANULE] == 2);
	check(dirty_mprotect.counts().nfaults == 1);
}

/* One call opens the whole, and is no fault; it is closed again as any other. */
RUNS(what_is_going_to_be_written_is_opened_before)
{
	char *p = fresh(), *q = fresh();

	dirty_mprotect.expect((uintptr_t)p, (uintptr_t)p + 1);          /* no window: nothing */
	open_window();
	dirty_mprotect.expect((uintptr_t)p, (uintptr_t)p + 2 * GUARD_GRANULE);
	check(guard_nopened() == 1);
	p[0] = p[2 * GUARD_GRANULE - 1] = 1;
	check(is_dirty(p) && is_dirty(p + GUARD_GRANULE) && !is_dirty(q + GUARD_GRANULE));
	check(dirty_mprotect.counts().nfaults == 0);
	open_window();
	check(!is_dirty(p));
	p[0] = 2;
	check(is_dirty(p) && dirty_mprotect.counts().nfaults == 1);
	close_window();
}

/* As cycles arm a long range: a read that waits is made again when its piece comes. */
static void *read_pipe(void *to);
static int pipe_ends[2];
static _Atomic bool is_blocking;

RUNS(armed_in_pieces)
{
	char *p = fresh(), *q = blocks[NBLOCKS - 1];
	uintptr_t at = align_up((uintptr_t)p + BLOCK - heap.base, GUARD_GRANULE) + heap.base;
	pthread_t t;

	check(pipe(pipe_ends) == 0);
	t = scan_create(read_pipe, q);
	while (!is_blocking)
		usleep(100);
	check(scan_stop());
	check(dirty_mprotect.arm(heap.base, at));
	scan_resume();
	q[GUARD_GRANULE] = 1;                   /* before its piece */
	usleep(10000);
	for (; at < heap_end(); at += MIB(1)) {
		check(scan_stop());
		check(dirty_mprotect.arm_more(at + MIB(1) < heap_end() ? at + MIB(1) : heap_end()));
		scan_resume();
	}
	check(!is_dirty(p) && !is_dirty(q + 2 * GUARD_GRANULE) && !is_dirty(q + GUARD_GRANULE));
	p[0] = q[2 * GUARD_GRANULE] = 1;
	check(is_dirty(p) && is_dirty(q + 2 * GUARD_GRANULE));
	check(write(pipe_ends[1], "hello", 5) == 5);
	check(pthread_join(t, NULL) == 0);
	check(memcmp(q, "hello", 5) == 0 && is_dirty(q));
	close_window();
}

RUNS(a_window_can_be_opened_again_and_again)
{
	char *p = fresh();

	for (unsigned i = 0; i < 100; i++) {
		open_window();
		check(!is_dirty(p));
		p[0] = (char)i;
		check(is_dirty(p));
		if (i % 2)
			close_window();
	}
	close_window();
}

RUNS(rearmed_granules_are_clean_and_new_heap_is_tracked)
{
	char *p = fresh();
	struct find f = { .p = (uintptr_t)p };

	open_window();
	p[0] = 1;
	check(scan_stop());
	check(dirty_mprotect.collect(heap.base, heap_end(), true, look, &f));
	scan_resume();
	check(f.is_found && !is_dirty(p));
	p[0] = 2;
	check(is_dirty(p));

	char *grown = core_malloc(MIB(300));

	check(grown);
	memset(grown, 1, MIB(1));
	check(is_dirty(grown) && is_dirty(grown + MIB(200)));
	check(scan_stop());
	check(dirty_mprotect.collect(heap.base, heap_end(), true, look, &f));
	scan_resume();
	check(!is_dirty(grown) && !is_dirty(grown + MIB(200)));
	grown[MIB(200)] = 1;
	check(!is_dirty(grown) && is_dirty(grown + MIB(200)));
	close_window();
}

/* It can't answer a stop before its child ends. */
static _Atomic pid_t child;

static void *wait_for_child(void *arg)
{
	pid_t pid = vfork();

	if (pid == 0) {
		child = getpid();
		for (;;)
			pause();
	}
	check(waitpid(pid, NULL, 0) == pid);
	return arg;
}

RUNS(nothing_is_closed_again_while_a_thread_runs_on)
{
	char *p = fresh();
	pthread_t t;

	open_window();
	p[0] = 1;
	t = scan_create(wait_for_child, NULL);
	while (!child)
		usleep(100);
	check(scan_stop());                     /* after 2 s */
	check(scan_stop_info().nmissed == 1);
	check(!dirty_mprotect.collect(heap.base, heap_end(), true, look, &find));
	check(!guard_is_closed_at((uintptr_t)p));
	scan_resume();
	check(kill(child, SIGKILL) == 0);
	check(pthread_join(t, NULL) == 0);
	close_window();
}

/* --- threads --- */

static void *read_pipe(void *to)
{
	is_blocking = true;
	check(read(pipe_ends[0], to, 100) == 5);
	return to;
}

/* The window opens while the thread is in the kernel, in a call that was made before; the second one
 * while it is in a call that the first one's stub has made. */
RUNS(a_blocked_read_across_windows)
{
	char *p = fresh();
	pthread_t t;

	check(pipe(pipe_ends) == 0);
	t = scan_create(read_pipe, p);
	while (!is_blocking)
		usleep(100);
	usleep(20000);
	for (unsigned i = 0; i < 3; i++) {
		open_window();
		usleep(10000);
		if (i == 1)
			close_window();
	}
	check(write(pipe_ends[1], "hello", 5) == 5);
	check(pthread_join(t, NULL) == 0);
	expect(p, "hello");
	close_window();
}

static void *use_heap(void *arg)
{
	char *p = arg;
	int fd = feed("abc", 3);

	check(read(fd, p, 3) == 3 && memcmp(p, "abc", 3) == 0);
	p[2 * GUARD_GRANULE] = 1;
	return p;
}

RUNS(threads_that_start_in_a_window)
{
	open_window();
	for (unsigned i = 0; i < 20; i++) {
		char *p = fresh();
		pthread_t t;

		check(pthread_create(&t, NULL, use_heap, p) == 0);
		check(pthread_join(t, NULL) == 0);
		expect(p, "abc");
		check(is_dirty(p + 2 * GUARD_GRANULE));
	}
	close_window();
}

RUNS(a_thread_whose_stack_is_in_the_heap)
{
	char *stack = core_malloc(MIB(1));
	pthread_attr_t attr;
	pthread_t t;

	memset(stack, 0x5a, MIB(1));
	pthread_attr_init(&attr);
	check(pthread_attr_setstack(&attr, stack, MIB(1)) == 0);
	for (unsigned i = 0; i < 5; i++) {
		char *p = fresh();

		open_window();
		check(pthread_create(&t, &attr, use_heap, p) == 0);
		if (i % 2)
			open_window();          /* the store may have been before */
		check(pthread_join(t, NULL) == 0);
		check(memcmp(p, "abc", 3) == 0);
		close_window();
	}
}

/* On its stack in the heap, which it never leaves. */
static char *volatile written;
static _Atomic bool is_over;

static void *write_on(void *arg)
{
	volatile char local[KIB(1)];

	written = (char *)local;
	while (!is_over)
		local[0]++;
	return arg;
}

/* What it stands on is not closed, whenever its piece comes, and counts as written. */
RUNS(a_stack_in_the_heap_armed_in_pieces)
{
	char *stack = core_malloc(MIB(1));
	uintptr_t middle = align_up((uintptr_t)blocks[NBLOCKS / 2] - heap.base, GUARD_GRANULE) + heap.base;
	pthread_attr_t attr;
	pthread_t t;

	check(stack > blocks[NBLOCKS / 2]);
	pthread_attr_init(&attr);
	check(pthread_attr_setstack(&attr, stack, MIB(1)) == 0);
	check(pthread_create(&t, &attr, write_on, NULL) == 0);
	while (!written)
		usleep(100);
	for (unsigned i = 0; i < 5; i++) {
		check(scan_stop());
		check(dirty_mprotect.arm(heap.base, middle));
		scan_resume();
		check(scan_stop());
		check(dirty_mprotect.arm_more(heap_end()));
		scan_resume();
		check(is_dirty(written) && !is_dirty(stack));
		close_window();
	}
	is_over = true;
	check(pthread_join(t, NULL) == 0);
}

RUNS(children_in_a_window)
{
	char *p = fresh();
	int status;

	for (unsigned i = 0; i < 20; i++) {
		open_window();

		pid_t pid = i % 2 ? fork() : (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

		if (pid == 0) {
			int fd = feed("child", 5);

			/* Not protected there: nobody says what the kernel writes. */
			_exit(read(fd, p, 100) == 5 && memcmp(p, "child", 5) == 0 && !guard_is_closed()
			      ? 5 : 6);
		}
		check(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 5);
		check(p[0] == 0x5a);
		check(system("exit 9") == 9 << 8);

		char *const argv[] = { "true", NULL };
		pid_t spawned;

		check(posix_spawn(&spawned, "/bin/true", NULL, NULL, argv, environ) == 0);
		check(waitpid(spawned, &status, 0) == spawned && status == 0);
		pid = vfork();
		if (pid == 0)
			_exit(3);
		check(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 3);
		check(guard_is_closed());
		close_window();
	}
}

/* --- coroutines --- */

static ucontext_t main_context, coroutine;
static char *coroutines_block;

static void run_coroutine(void)
{
	for (unsigned i = 0;; i++) {
		volatile char local[KIB(100)];
		int fd = feed("xyz", 3), other = fed_by;

		for (size_t at = 0; at < sizeof local; at += 4096)
			local[at] = (char)i;
		check(read(fd, coroutines_block, 3) == 3 && memcmp(coroutines_block, "xyz", 3) == 0);
		close(fd);
		close(other);
		check(local[0] == (char)i);
		swapcontext(&coroutine, &main_context);
	}
}

static void make_coroutine(void)
{
	char *stack = core_malloc(MIB(1));

	memset(stack, 0, MIB(1));
	coroutines_block = fresh();
	getcontext(&coroutine);
	coroutine.uc_stack = (stack_t){ .ss_sp = stack, .ss_size = MIB(1) };
	makecontext(&coroutine, run_coroutine, 0);
}

RUNS(a_coroutine_whose_stack_is_in_the_heap)
{
	make_coroutine();
	for (unsigned i = 0; i < 10; i++) {
		swapcontext(&main_context, &coroutine);
		open_window();
		swapcontext(&main_context, &coroutine);
		check(is_dirty(coroutines_block));
		swapcontext(&main_context, &coroutine);
		if (i % 2)
			close_window();
	}
	close_window();
}

static void *run_coroutines(void *arg)
{
	(void)arg;
	while (!is_over)
		swapcontext(&main_context, &coroutine);
	return NULL;
}

RUNS(a_thread_that_is_stopped_on_a_coroutine)
{
	pthread_t t;

	make_coroutine();
	t = scan_create(run_coroutines, NULL);
	for (unsigned i = 0; i < 200; i++) {
		open_window();
		usleep(300);
		if (i % 3)
			close_window();
	}
	is_over = true;
	check(pthread_join(t, NULL) == 0);
	close_window();
}

/* --- limits --- */

static void *nothing(void *arg)
{
	return arg;
}

/* More scattered granules than the kernel has mappings for: all is open then, and the program's own calls
 * go on. */
RUNS(scattered_stores_leave_mappings_for_the_program)
{
	const size_t nbytes = (size_t)2 * 9000 * GUARD_GRANULE;
	char *p = core_malloc(nbytes);
	pthread_t t;

	check(p);
	open_window();
	for (size_t i = 0; i < 9000; i++)
		p[2 * i * GUARD_GRANULE] = 1;
	check(is_dirty(p) && is_dirty(p + GUARD_GRANULE));
	check(pthread_create(&t, NULL, nothing, NULL) == 0 && pthread_join(t, NULL) == 0);
	check(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	check(dirty_mprotect.counts().nfaults < 8100);
	close_window();
	open_window();
	check(!is_dirty(p));
	p[0] = 1;
	check(is_dirty(p) && !is_dirty(p + GUARD_GRANULE));
	close_window();
}

#define MOST_MAPPINGS 100000                    /* where the kernel allows more it takes too long */

/* Takes all mappings there are. False: there are too many. */
static bool take_mappings(void)
{
	char *p = mmap(NULL, (size_t)MOST_MAPPINGS * OS_PAGE_BYTES, PROT_NONE,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	check(p != MAP_FAILED);
	for (size_t i = 0; i < MOST_MAPPINGS; i += 2) {
		if (mprotect(p + i * OS_PAGE_BYTES, OS_PAGE_BYTES, PROT_READ))
			return true;
	}
	return false;
}

/* What protects the heap piece by piece can't divide it any more: it can be written nevertheless. */
RUNS(a_window_ends_where_the_program_has_taken_all_mappings)
{
	const size_t nbytes = MIB(16);
	char *p = core_malloc(nbytes);

	check(p);
	open_window();
	if (!take_mappings())
		return;
	close_window();
	for (size_t i = 0; i < nbytes; i += OS_PAGE_BYTES)
		p[i] = 1;
}

RUNS(memory_given_back_in_a_window)
{
	char *p = fresh();

	open_window();
	check(madvise((void *)align_up((uintptr_t)p, 4096), KIB(128), MADV_DONTNEED) == 0);
	p[KIB(64)] = 1;
	check(is_dirty(p + KIB(64)) && p[KIB(65)] == 0);
	close_window();
}
