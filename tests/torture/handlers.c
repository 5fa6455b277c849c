/* handlers.c: a program that handles SIGSEGV and SIGSYS itself, as virtual machines do, on alternate stacks
 * that are blocks of the heap: each of its own faults arrives, with its siginfo, and no other does.
 *
 * also: SPANGC_VERIFY=1 | SPANGC_GC_FREE=ignore | SPANGC_STACKS=all
 */
#include "tests/torture/torture.h"
#include "tests/torture/objects.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#define NTHREADS 3
#define ALTERNATE_BYTES ((size_t)64 << 10)
#define NO_CALL 1000                            /* a number that seccomp traps */

static _Atomic uint64_t next_serial = 1;

/* Of the thread, and found by handlers. */
static __thread struct {
	char *page;                             /* which it guards */
	char *stack;                            /* alternate, in a block */
	struct ref *list;                       /* in a block; written by handlers */
	sigjmp_buf escape;
	bool wants_escape;
	unsigned nsegv, nsys;
	siginfo_t last;
} own;

static void check_stack(const void *local)
{
	const char *at = local;

	CHECKF(at >= own.stack && at < own.stack + ALTERNATE_BYTES, "%p is not on the stack at %p", local,
	       (void *)own.stack);
}

/* Allocates and writes to blocks, as handlers of virtual machines do: what it interrupted was not malloc. */
static NOINLINE void work_in_handler(void)
{
	struct ref only = object_make(next_serial++);

	check_stack(&only);
	sched_yield();
	object_walk(own.list[0], true);
	own.list[0] = only;
}

static void on_segv(int signo, siginfo_t *info, void *context)
{
	CHECK(signo == SIGSEGV && context);
	CHECKF(own.page, "a fault at %p that is none of the program's", info->si_addr);
	own.nsegv++;
	own.last = *info;
	work_in_handler();
	if (info->si_code > 0) {
		CHECKF((char *)info->si_addr == own.page + 8, "%p, not %p", info->si_addr, (void *)own.page);
		CHECK(mprotect(own.page, 4096, PROT_READ | PROT_WRITE) == 0);
	}
	if (own.wants_escape)
		siglongjmp(own.escape, 1);
}

static void on_sys(int signo, siginfo_t *info, void *context)
{
	CHECK(signo == SIGSYS);
	own.nsys++;
	own.last = *info;
	work_in_handler();
	if (info->si_code == 1) {               /* SYS_SECCOMP */
		CHECKF(info->si_syscall == NO_CALL, "call %d", info->si_syscall);
#ifdef __x86_64__
		((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = 42;
#endif
	}
}

static NOINLINE void write_to_page(void)
{
	*(volatile uint64_t *)(own.page + 8) = 5;
}

static void guard(uint64_t *rng)
{
	int how = next_random(rng) % 2 ? PROT_READ : PROT_NONE;
	unsigned before = own.nsegv;

	CHECK(mprotect(own.page, 4096, how) == 0);
	own.wants_escape = next_random(rng) % 2;
	if (!own.wants_escape || sigsetjmp(own.escape, 1) == 0)
		write_to_page();
	CHECKF(own.nsegv == before + 1, "%u faults", own.nsegv - before);
	CHECK(own.last.si_code == SEGV_ACCERR);
	own.wants_escape = false;
}

static void send_own_signals(void)
{
	unsigned nsegv = own.nsegv, nsys = own.nsys;

	CHECK(raise(SIGSEGV) == 0 && raise(SIGSYS) == 0);
	CHECKF(own.nsegv == nsegv + 1 && own.nsys == nsys + 1, "%u %u", own.nsegv - nsegv, own.nsys - nsys);
	CHECK(own.last.si_pid == getpid() && own.last.si_code == SI_TKILL);
}

static void trapped_call(void)
{
	unsigned before = own.nsys;
	long result = syscall(NO_CALL);

	CHECKF(own.nsys == before + 1, "%u, result %ld", own.nsys - before, result);
#ifdef __x86_64__
	CHECKF(result == 42, "%ld", result);
#endif
}

/* What the program set is what it is told. */
static void ask(void)
{
	struct sigaction old;
	stack_t stack;
	sigset_t set;

	CHECK(sigaction(SIGSEGV, NULL, &old) == 0);
	CHECK(old.sa_sigaction == on_segv && (old.sa_flags & SA_SIGINFO) && (old.sa_flags & SA_ONSTACK));
	CHECK(sigismember(&old.sa_mask, SIGUSR1) == 1 && sigismember(&old.sa_mask, SIGSEGV) == 1);
	CHECK(sigaction(SIGSYS, NULL, &old) == 0 && old.sa_sigaction == on_sys);
	CHECK(sigaltstack(NULL, &stack) == 0);
	CHECKF(stack.ss_sp == own.stack && stack.ss_size == ALTERNATE_BYTES, "%p", stack.ss_sp);
	CHECK(pthread_sigmask(SIG_SETMASK, NULL, &set) == 0);
	CHECK(!sigismember(&set, SIGSEGV) && !sigismember(&set, SIGSYS) && !sigismember(&set, SIGUSR1));
}

/* What a blocked signal says, a program may ask. */
static void block(void)
{
	sigset_t all, old, now;

	sigfillset(&all);
	CHECK(pthread_sigmask(SIG_SETMASK, &all, &old) == 0);
	CHECK(pthread_sigmask(SIG_SETMASK, NULL, &now) == 0);
	CHECK(sigismember(&now, SIGSEGV) && sigismember(&now, SIGSYS));
	own.list[1].serial++;                   /* a write with all blocked */
	CHECK(pthread_sigmask(SIG_SETMASK, &old, NULL) == 0);
}

static void set_stack(void)
{
	stack_t stack = { .ss_size = ALTERNATE_BYTES }, off = { .ss_flags = SS_DISABLE };
	char *before = own.stack;

	own.stack = malloc(ALTERNATE_BYTES);
	stack.ss_sp = own.stack;
	if (before)
		CHECK(sigaltstack(&off, NULL) == 0);
	CHECK(sigaltstack(&stack, NULL) == 0);
	free(before);
}

static bool trap_call(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NO_CALL, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { COUNT(filter), filter };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

static void *live(void *arg)
{
	uint64_t rng = torture.seed + (uintptr_t)arg * 2;
	bool is_trapped = (uintptr_t)arg % 2 && trap_call();

	own.page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(own.page != MAP_FAILED);
	own.list = calloc(100, sizeof *own.list);
	own.list[0] = object_make(next_serial++);
	for (unsigned i = 0; torture_goes_on(); i++) {
		if (i % 50 == 0)
			set_stack();
		guard(&rng);
		send_own_signals();
		if (is_trapped)
			trapped_call();
		ask();
		block();
		make_garbage(&rng);
		torture_count(object_walk(own.list[0], false));
	}
	return NULL;
}

static void handle(int signo, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigfillset(&action.sa_mask);
	CHECK(sigaction(signo, &action, NULL) == 0);
}

int main(void)
{
	pthread_t thread[NTHREADS];

	handle(SIGSEGV, on_segv);
	handle(SIGSYS, on_sys);
	torture_begin();
	for (unsigned i = 0; i < NTHREADS; i++)
		thread[i] = start_thread(live, (void *)(uintptr_t)(i + 1));
	for (unsigned i = 0; i < NTHREADS; i++)
		join_thread(thread[i]);
	return torture_end();
}
