/* dirty_signals.c: the heap protected: masks, handlers and protections of the program's own. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "core/sigmask.h"
#include "scan/regs.h"
#include "tests/blocked_in.h"
#include "tests/unit/dirty_mprotect.h"

static _Atomic bool is_blocking;
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

static void block_segv(int signo)
{
	sigset_t set;

	count(signo);
	sigemptyset(&set);
	sigaddset(&set, SIGSEGV);
	check(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	check(sigprocmask(SIG_BLOCK, NULL, &set) == 0 && sigismember(&set, SIGSEGV));
}

/* The kernel's own, whatever the program is told. */
static uint64_t mask_now(void)
{
	uint64_t mask = 0;

	check(regs_syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&mask, sizeof mask) == 0);
	return mask;
}

/* The library's own masks cost no report, and keep a stop out; not those that would keep out a fault, which
 * the program had from before the window. */
RUNS(masks_of_the_librarys_own)
{
	uint64_t stop = UINT64_C(1) << (scan_threads_signal() - 1);
	struct sigmask outer, inner;
	char *p = fresh();
	sigset_t set;

	sigfillset(&set);
	sigdelset(&set, scan_threads_signal());
	check(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	sigmask_block(&outer);                  /* this thread opens the window itself */
	open_window();
	sigmask_restore(&outer);
	p[0] = 1;
	check(sigprocmask(SIG_BLOCK, NULL, &set) == 0 && sigismember(&set, SIGSEGV));

	uint64_t before = dirty_mprotect.counts().ncalls;

	sigmask_block(&outer);
	sigmask_block(&inner);
	check(mask_now() & stop);
	sigmask_restore(&inner);
	check(mask_now() & stop);
	p[GUARD_GRANULE] = 1;
	sigmask_restore(&outer);
	check(!(mask_now() & stop));
	check(dirty_mprotect.counts().ncalls == before);
	check(sigprocmask(SIG_BLOCK, NULL, &set) == 0 && sigismember(&set, SIGSEGV));
	check(is_dirty(p) && is_dirty(p + GUARD_GRANULE));
	close_window();
}

/* What a handler blocks is as before when it has returned. */
RUNS(masks_of_handlers)
{
	struct sigaction a = { .sa_handler = block_segv };
	sigset_t set;

	check(sigaction(SIGUSR1, &a, NULL) == 0);
	open_window();
	check(raise(SIGUSR1) == 0 && nhandled == 1);
	check(sigprocmask(SIG_BLOCK, NULL, &set) == 0 && !sigismember(&set, SIGSEGV));
	close_window();
}

/* That the stop does not end them is the preloaded library's doing. */
static void wait_by_pselect(const sigset_t *all)
{
	check(pselect(0, NULL, NULL, NULL, &(struct timespec){ 100, 0 }, all) == -1 && errno == EINTR);
}

static void wait_by_ppoll(const sigset_t *all)
{
	check(ppoll(NULL, 0, &(struct timespec){ 100, 0 }, all) == -1 && errno == EINTR);
}

static void wait_by_epoll(const sigset_t *all)
{
	struct epoll_event e;

	check(epoll_pwait(epoll_create1(0), &e, 1, 100000, all) == -1 && errno == EINTR);
}

static void (*wait_way)(const sigset_t *all);
static _Atomic int waiting_tid;

static void *wait_with_all_blocked(void *arg)
{
	sigset_t all;

	sigfillset(&all);
	waiting_tid = (int)syscall(SYS_gettid);
	wait_way(&all);
	return arg;
}

/* A thread that waits so can be stopped all the same. */
RUNS(waiting_with_all_blocked)
{
	static void (*const ways[])(const sigset_t *all) = { wait_by_pselect, wait_by_ppoll, wait_by_epoll };
	static const long numbers[] = { SYS_pselect6, SYS_ppoll, SYS_epoll_pwait };

	open_window();
	for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
		pthread_t t;

		wait_way = ways[i];
		waiting_tid = 0;
		t = scan_create(wait_with_all_blocked, NULL);
		while (!waiting_tid)
			usleep(100);
		wait_until_blocked_in(waiting_tid, numbers[i]);
		check(scan_stop());
		check(scan_stop_info().nmissed == 0);
		scan_resume();
		check(pthread_join(t, NULL) == 0);
	}
	close_window();
}

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

static void count_segv(int signo)
{
	count(signo);
}

/* Its handler is for one. */
static void crash_twice(void)
{
	struct sigaction a = { .sa_handler = count_segv, .sa_flags = (int)SA_RESETHAND };
	char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(sigaction(SIGSEGV, &a, NULL) == 0);
	open_window();
	*(volatile char *)page = 1;
}

Test(dirty_mprotect, a_true_crash_is_still_one)
{
	cr_assert_eq(outcome_of(crash_twice), SIGSEGV);
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
