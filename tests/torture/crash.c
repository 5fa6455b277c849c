/* crash.c: a true crash ends the program by its signal while collections go on, whoever made it, wherever
 * the bad address is; and a handler that the program sets back is gone.
 *
 * also: SPANGC_STACKS=all
 */
#include "tests/torture/torture.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void write_to_null(void)
{
	*(volatile int *)hide(NULL) = 1;
}

static void write_to_constant(void)
{
	*(volatile char *)hide((void *)(uintptr_t)"constant") = 1;
}

static void write_to_protected(void)
{
	char *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	p[5] = 1;
}

/* Far behind all blocks, where the heap has not grown to; and what its neighbours are. */
static void read_beyond_heap(void)
{
	volatile char *p = hide(malloc(100));

	for (;;)
		(void)*(p += 4096);
}

static void write_to_noncanonical(void)
{
	*(volatile int *)hide((void *)(UINT64_C(0xa5) << 56 | (uintptr_t)&torture)) = 1;
}

static void run_data(void)
{
	unsigned char *p = malloc(100);

	memset(p, 0xc3, 100);
	((void (*)(void))hide(p))();
}

static NOINLINE unsigned recurse(unsigned depth)
{
	volatile unsigned char room[65536];

	room[depth % sizeof room] = 1;
	return depth ? recurse(depth - 1) + room[depth % sizeof room] : 0;
}

static void overflow_stack(void)
{
	recurse(UINT32_MAX);
}

static void send_segv(void)
{
	kill(getpid(), SIGSEGV);
	for (;;)
		pause();
}

static void raise_sys(void)
{
	raise(SIGSYS);
}

/* A handler of the program's ends, and the write is tried again: for ever, but for SA_RESETHAND. */
static void return_from(int signo)
{
	hide(malloc((size_t)signo));
}

static void reset_handler(void)
{
	struct sigaction action = { .sa_handler = return_from, .sa_flags = (int)SA_RESETHAND };

	CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
	write_to_null();
}

static void set_back(void)
{
	signal(SIGSEGV, return_from);
	signal(SIGSEGV, SIG_DFL);
	write_to_null();
}

/* An ignored fault is a fault. */
static void ignore(void)
{
	signal(SIGSEGV, SIG_IGN);
	write_to_null();
}

static void with_all_blocked(void)
{
	sigset_t all;

	sigfillset(&all);
	CHECK(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
	write_to_null();
}

static void seccomp_kill(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1000, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { COUNT(filter), filter };

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
		raise(SIGSYS);
	syscall(1000);
}

static const struct crash {
	const char *name;
	void (*run)(void);
	int signo;
} crashes[] = {
	{ "a null pointer", write_to_null, SIGSEGV },
	{ "a constant", write_to_constant, SIGSEGV },
	{ "a protected page", write_to_protected, SIGSEGV },
	{ "behind the heap", read_beyond_heap, SIGSEGV },
	{ "no address", write_to_noncanonical, SIGSEGV },
	{ "data run as code", run_data, SIGSEGV },
	{ "a stack that overflows", overflow_stack, SIGSEGV },
	{ "kill", send_segv, SIGSEGV },
	{ "raise", raise_sys, SIGSYS },
	{ "a handler for once", reset_handler, SIGSEGV },
	{ "a handler set back", set_back, SIGSEGV },
	{ "ignored", ignore, SIGSEGV },
	{ "all blocked", with_all_blocked, SIGSEGV },
	{ "a trapped call", seccomp_kill, SIGSYS },
	{ "abort", abort, SIGABRT },
};

static void *run_crash(void *arg)
{
	((const struct crash *)arg)->run();
	return NULL;
}

/* In the child: after some collections, in the first thread or in another. */
static void crash(const struct crash *c, bool is_thread)
{
	struct rlimit none = { 0, 0 };
	uint64_t rng = torture.seed;

	setrlimit(RLIMIT_CORE, &none);
	alarm(100);
	start_thread(collect_on_and_on, NULL);
	for (unsigned i = 0; i < 20; i++)
		make_garbage(&rng);
	let_collections_pass(2);
	if (!is_thread)
		c->run();
	else
		join_thread(start_thread(run_crash, (void *)(uintptr_t)c));
	_exit(3);
}

int main(void)
{
	torture_begin();
	for (unsigned i = 0; torture_goes_on() || i < 2 * COUNT(crashes); i++) {
		const struct crash *c = &crashes[i % COUNT(crashes)];
		pid_t child = fork();
		int status;

		CHECK(child >= 0);
		if (child == 0)
			crash(c, i / COUNT(crashes) % 2);
		CHECK(waitpid(child, &status, 0) == child);
		CHECKF(WIFSIGNALED(status) && WTERMSIG(status) == c->signo, "%s: %x", c->name, (unsigned)status);
	}
	return torture_end();
}
