/* dirty_mprotect.c: the heap protected: granules, threads, signals, stacks, limits. What the kernel writes
 * is dirty_calls.c's. */
#include <pthread.h>
#include <setjmp.h>
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

static _Atomic unsigned nhandled;

static void count(int signo)
{
	char *own = blocks[NBLOCKS - 1];

	own[(nhandled * 4096) % BLOCK] = (char)signo;
	nhandled++;
	getppid();
}

/* Wants everything blocked, before the window and in it. */
static void *block_all(void *arg)
{
	char *p = arg;
	sigset_t all;

	sigfillset(&all);
	sigdelset(&all, scan_threads_signal()); /* as preload has it */
	check(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
	is_blocking = true;
	while (!guard_is_closed())
		usleep(100);
	p[0] = 1;
	check(getppid() > 0);
	check(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
	p[GUARD_GRANULE] = 2;
	check(getppid() > 0);
	sigfillset(&all);
	sigdelset(&all, SIGUSR1);
	is_blocking = false;
	sigsuspend(&all);                       /* the handler runs with all else blocked */
	return NULL;
}

RUNS(masks_that_hold_everything)
{
	struct sigaction a = { .sa_handler = count };
	char *p = fresh();
	pthread_t t;

	sigfillset(&a.sa_mask);
	check(sigaction(SIGUSR1, &a, NULL) == 0);
	t = scan_create(block_all, p);
	while (!is_blocking)
		usleep(100);
	open_window();
	check(raise(SIGUSR1) == 0 && nhandled == 1);
	check(sigaction(SIGUSR1, &a, NULL) == 0);
	check(raise(SIGUSR1) == 0 && nhandled == 2);
	while (is_blocking)
		usleep(100);
	usleep(10000);
	check(pthread_kill(t, SIGUSR1) == 0);
	check(pthread_join(t, NULL) == 0);
	check(nhandled == 3 && is_dirty(p) && is_dirty(p + GUARD_GRANULE));
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

/* --- signals --- */

static sigjmp_buf back;
static volatile uintptr_t seen_address, seen_stack;

static void on_segv(int signo, siginfo_t *info, void *context)
{
	char here;

	(void)signo;
	(void)context;
	seen_address = (uintptr_t)info->si_addr;
	seen_stack = (uintptr_t)&here;
	blocks[NBLOCKS - 2][0] = 1;             /* another fault, in here */
	siglongjmp(back, 1);
}

static void on_segv_return(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	nhandled++;
	mprotect((void *)((uintptr_t)info->si_addr & ~(uintptr_t)4095), 4096, PROT_READ | PROT_WRITE);
}

/* The program's own: on its own alternate stack, which lies in the heap. */
RUNS(the_programs_handler_of_sigsegv)
{
	char *alt = fresh(), *p = fresh();
	char *guarded = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sigaction a = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_ONSTACK }, old;

	check(sigaltstack(&(stack_t){ .ss_sp = alt, .ss_size = KIB(64) }, NULL) == 0);
	check(sigaction(SIGSEGV, &a, NULL) == 0);
	for (unsigned i = 0; i < 6; i++) {
		open_window();
		p[0] = (char)i;
		check(is_dirty(p));
		seen_address = 0;
		if (!sigsetjmp(back, 1)) {
			guarded[i] = 1;
			check(false);
		}
		check(seen_address == (uintptr_t)guarded + i);
		check(seen_stack - (uintptr_t)alt < KIB(64));
		check(is_dirty(alt));
		if (i % 2)
			close_window();
	}
	open_window();
	check(sigaction(SIGSEGV, NULL, &old) == 0 && old.sa_sigaction == on_segv
	      && (old.sa_flags & ~0x04000000) == a.sa_flags);
	a = (struct sigaction){ .sa_sigaction = on_segv_return, .sa_flags = SA_SIGINFO };
	check(sigaction(SIGSEGV, &a, &old) == 0 && old.sa_sigaction == on_segv);
	guarded[0] = 1;
	check(nhandled == 1 && guarded[0] == 1);
	close_window();
}

static void on_sys(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	nhandled += info->si_code == SI_TKILL;
}

RUNS(the_programs_handler_of_sigsys)
{
	struct sigaction a = { .sa_sigaction = on_sys, .sa_flags = SA_SIGINFO };

	check(sigaction(SIGSYS, &a, NULL) == 0);
	open_window();
	check(raise(SIGSYS) == 0 && nhandled == 1);
	close_window();
	check(raise(SIGSYS) == 0 && nhandled == 2);
}

static void crash(void)
{
	open_window();
	*(volatile char *)(uintptr_t)getpid() = 1;
}

static void crash_sent(void)
{
	open_window();
	raise(SIGSEGV);
}

static void crash_by_sys(void)
{
	open_window();
	raise(SIGSYS);
}

static void *raise_sys(void *arg)
{
	raise(SIGSYS);
	return arg;
}

static void crash_in_thread(void)
{
	pthread_t t;

	open_window();
	close_window();
	check(pthread_create(&t, NULL, raise_sys, NULL) == 0);
	pthread_join(t, NULL);
}

static void crash_later(void)
{
	open_window();
	close_window();
	*(volatile char *)(uintptr_t)getpid() = 1;
}

Test(dirty_mprotect, a_true_crash_is_still_one)
{
	cr_assert_eq(outcome_of(crash), SIGSEGV);
	cr_assert_eq(outcome_of(crash_sent), SIGSEGV);
	cr_assert_eq(outcome_of(crash_later), SIGSEGV);
	cr_assert_eq(outcome_of(crash_by_sys), SIGSYS);
	cr_assert_eq(outcome_of(crash_in_thread), SIGSYS);
}

static void small_stack_handler(int signo)
{
	struct stat st;

	count(signo);
	check(stat("/", &st) == 0);
}

RUNS(a_small_alternate_stack_in_the_heap)
{
	char *alt = fresh();
	struct sigaction a = { .sa_handler = small_stack_handler, .sa_flags = SA_ONSTACK };

	check(sigaltstack(&(stack_t){ .ss_sp = alt, .ss_size = (size_t)sysconf(_SC_MINSIGSTKSZ) }, NULL)
	      == 0);
	check(sigaction(SIGUSR1, &a, NULL) == 0);
	open_window();
	check(raise(SIGUSR1) == 0 && nhandled == 1);
	close_window();
}

/* --- coroutines --- */

static ucontext_t main_context, coroutine;
static char *coroutines_block;

static void run_coroutine(void)
{
	for (unsigned i = 0;; i++) {
		volatile char local[KIB(100)];
		int fd = feed("xyz", 3);

		for (size_t at = 0; at < sizeof local; at += 4096)
			local[at] = (char)i;
		check(read(fd, coroutines_block, 3) == 3 && memcmp(coroutines_block, "xyz", 3) == 0);
		close(fd);
		check(local[0] == (char)i);
		close(fd + 1);
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

static _Atomic bool is_over;

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

/* What the program protects itself stays so: code that it makes, and guards of its own. */
RUNS(protections_of_the_programs_own)
{
	char *p = fresh(), *q = fresh();
	char *page = (char *)align_up((uintptr_t)p, 4096), *guarded = (char *)align_up((uintptr_t)q, 4096);
	struct sigaction a = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };
	int (*code)(void);

	memcpy(page, "\xb8\x07\0\0\0\xc3", 6);
	memcpy(&code, &page, sizeof code);
	check(sigaction(SIGSEGV, &a, NULL) == 0);
	check(mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0);
	for (unsigned i = 0; i < 4; i++) {
		open_window();
		check(code() == 7);
		check(mprotect(guarded, 4096, PROT_NONE) == 0);
		if (!sigsetjmp(back, 1)) {
			guarded[0] = 1;
			check(false);
		}
		if (i % 2)
			close_window();
		if (!sigsetjmp(back, 1)) {
			guarded[0] = 1;
			check(false);
		}
		check(code() == 7);
		check(mprotect(guarded, 4096, PROT_READ | PROT_WRITE) == 0);
		guarded[0] = 2;
	}
	close_window();
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
