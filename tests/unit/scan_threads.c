/* scan_threads.c: stopping the world, and what is shown of the threads then. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "scan/cuts.h"
#include "tests/unit/scan.h"
#include "tests/wipe.h"

#define NSPINNERS 8

static _Atomic unsigned long turns[NSPINNERS];
static _Atomic bool is_over, is_ready;

static void *spin(void *arg)
{
	_Atomic unsigned long *n = arg;

	while (!is_over)
		(*n)++;
	return NULL;
}

static void wait_for(_Atomic bool *flag)
{
	while (!*flag)
		usleep(100);
}

static unsigned long all_turns(void)
{
	unsigned long sum = 0;

	for (unsigned i = 0; i < NSPINNERS; i++)
		sum += turns[i];
	return sum;
}

static void wait_for_turns(void)
{
	for (unsigned i = 0; i < NSPINNERS; i++)
		for (unsigned long before = turns[i]; turns[i] == before;)
			usleep(100);
}

Test(scan_threads, stopped_threads_stand_still_until_the_resume, .init = scan_start)
{
	pthread_t thread[NSPINNERS];

	for (unsigned i = 0; i < NSPINNERS; i++)
		pthread_create(&thread[i], NULL, spin, &turns[i]);
	wait_for_turns();
	for (unsigned round = 0; round < 10; round++) {
		cr_assert(scan_stop());

		unsigned long before = all_turns();

		usleep(2000);
		cr_assert_eq(all_turns(), before);
		cr_assert_eq(scan_stop_info().nthreads, NSPINNERS);
		cr_assert_eq(scan_stop_info().nmissed, scan_ndeaf);
		scan_resume();
		wait_for_turns();
	}
	is_over = true;
	for (unsigned i = 0; i < NSPINNERS; i++)
		pthread_join(thread[i], NULL);
}

Test(scan_threads, before_the_start_nothing_can_be_stopped, .init = core_start)
{
	cr_assert_not(scan_threads_is_on());
	cr_assert_not(scan_stop());
}

static int pipe_ends[2];

static void *read_pipe(void *arg)
{
	char byte = 0;
	ssize_t n;

	is_ready = true;
	n = read(pipe_ends[0], &byte, 1);
	*(ssize_t *)arg = n;
	return (void *)(intptr_t)byte;
}

Test(scan_threads, a_read_that_was_interrupted_goes_on, .init = scan_start)
{
	pthread_t thread;
	void *byte;
	ssize_t n = 0;

	cr_assert_eq(pipe(pipe_ends), 0);
	pthread_create(&thread, NULL, read_pipe, &n);
	wait_for(&is_ready);
	for (unsigned i = 0; i < 10; i++) {
		cr_assert(scan_stop());
		scan_resume();
	}
	cr_assert_eq(write(pipe_ends[1], "x", 1), 1);
	pthread_join(thread, &byte);
	cr_assert_eq(n, 1);
	cr_assert_eq((intptr_t)byte, 'x');
}

#ifdef __x86_64__
/* The word is in a register only. */
static void *hold_in_register(void *arg)
{
	uintptr_t word = scan_word(1);

	__asm__ volatile("movq %0, %%r13\n\t"
	                 "xorq %0, %0\n\t"
	                 "movb $1, (%1)\n"
	                 "1:\tpause\n\t"
	                 "cmpb $0, (%2)\n\t"
	                 "je 1b\n\t"
	                 "xorq %%r13, %%r13"
	                 : "+r"(word) : "r"(&is_ready), "r"(&is_over) : "r13", "memory");
	return arg;
}

Test(scan_threads, registers_are_shown, .init = scan_start)
{
	if (CORE_HAS_ASAN)
		cr_skip("under ASan: its frames are elsewhere");

	pthread_t thread = scan_create(hold_in_register, NULL);

	wait_for(&is_ready);
	cr_assert_geq(scan_count_threads(1), 1);
	cr_assert_str_eq(scan_search.what, "stack");    /* the frame of the signal is a part of it */
	is_over = true;
	pthread_join(thread, NULL);
	cr_assert_eq(scan_count_threads(1), 0);
}

/* In a vector register, as memcpy() may have it. */
static void *hold_in_vector(void *arg)
{
	uintptr_t word = scan_word(2);

	__asm__ volatile("movq %0, %%xmm7\n\t"
	                 "xorq %0, %0\n\t"
	                 "movb $1, (%1)\n"
	                 "1:\tpause\n\t"
	                 "cmpb $0, (%2)\n\t"
	                 "je 1b\n\t"
	                 "pxor %%xmm7, %%xmm7"
	                 : "+r"(word) : "r"(&is_ready), "r"(&is_over) : "xmm7", "memory");
	return arg;
}

Test(scan_threads, vector_registers_are_shown, .init = scan_start)
{
	pthread_t thread = scan_create(hold_in_vector, NULL);

	wait_for(&is_ready);
	cr_assert_geq(scan_count_threads(2), 1);
	is_over = true;
	pthread_join(thread, NULL);
}
#endif

static void *hold_on_stack(void *arg)
{
	volatile uintptr_t word[64];

	for (unsigned i = 0; i < 64; i++)
		word[i] = scan_word(3);
	is_ready = true;
	wait_for(&is_over);
	return arg + (word[0] == 1);
}

static __attribute__((noinline)) void leave_on_stack(void)
{
	volatile uintptr_t word[2048];

	for (unsigned i = 0; i < 2048; i++)
		word[i] = scan_word(4);
	word[0] = word[1];
}

static void *leave_and_wait(void *arg)
{
	leave_on_stack();
	return hold_on_stack(arg);
}

Test(scan_threads, the_live_part_of_a_stack_is_shown_and_no_more, .init = scan_start)
{
	pthread_t thread = scan_create(leave_and_wait, NULL);

	wait_for(&is_ready);
	cr_assert_eq(scan_count_threads(3), 64);
	/* What sleeping and the signal left of the 2,048 lies below. */
	cr_assert_lt(scan_count_threads(4), 256);
	is_over = true;
	pthread_join(thread, NULL);
}

static __attribute__((noinline)) unsigned count_with_own_word(unsigned number)
{
	volatile uintptr_t word = scan_word(5);
	unsigned n = scan_count_threads(number);

	return n + (word == 1);
}

Test(scan_threads, the_callers_own_frames_are_shown, .init = scan_start)
{
	cr_assert_geq(count_with_own_word(5), 1);
}

static void *alternate;

static void wait_in_handler(int signo)
{
	volatile uintptr_t word = scan_word(6);

	(void)signo;
	is_ready = true;
	while (!is_over && word)
		;
}

static void *use_altstack(void *arg)
{
	stack_t alt = { .ss_sp = alternate, .ss_size = KIB(64) };
	struct sigaction action = { .sa_handler = wait_in_handler, .sa_flags = SA_ONSTACK };

	sigaltstack(&alt, NULL);
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	return arg;
}

/* Only as "altstack" can it be found: the memory is no root of threads otherwise. */
Test(scan_threads, an_alternate_stack_is_shown, .init = scan_start)
{
	if (CORE_HAS_ASAN)
		cr_skip("under ASan: it has alternate stacks of its own");

	alternate = malloc(KIB(64));

	pthread_t thread = scan_create(use_altstack, NULL);

	wait_for(&is_ready);
	cr_assert_geq(scan_count_threads(6), 1);
	cr_assert_str_eq(scan_search.what, "altstack");
	is_over = true;
	pthread_join(thread, NULL);
}

static __attribute__((noinline)) struct scan_thread *plan_word(void)
{
	return scan_thread_plan(spin, (void *)scan_word(7), false);
}

/* A thread that was created and did not begin yet. */
Test(scan_threads, an_argument_on_its_way_is_shown, .init = scan_start)
{
	struct scan_thread *t = plan_word();

	wipe();
	cr_assert_geq(scan_count_threads(7), 1);
	scan_thread_drop(t);
	cr_assert_eq(scan_count_threads(7), 0);
}

static uintptr_t stack_of_thread, record_of_thread;

struct dead_search {
	uintptr_t p;
	unsigned nfound;
};

static void look_dead(uintptr_t from, uintptr_t to, void *arg)
{
	struct dead_search *d = arg;

	d->nfound += d->p >= from && d->p < to;
}

static unsigned count_dead(uintptr_t p)
{
	struct dead_search d = { .p = p };

	cr_assert(scan_stop());
	scan_threads_visit(scan_look, &scan_search);
	scan_threads_visit_dead(look_dead, &d);
	scan_resume();
	return d.nfound;
}

static void *note_stack(void *arg)
{
	record_of_thread = (uintptr_t)pthread_self();
	stack_of_thread = (uintptr_t)__builtin_frame_address(0);
	if (arg)
		hold_on_stack(arg);
	return NULL;
}

/* Of a stopped thread, whose live part was shown; of one that ended; of the next on its stack. */
Test(scan_threads, the_stack_of_a_thread_that_ended_is_dead, .init = scan_start)
{
	pthread_t thread = scan_create(note_stack, NULL);

	pthread_join(thread, NULL);
	cr_assert_eq(count_dead(stack_of_thread), 1);
	cr_assert_eq(count_dead(record_of_thread - 8), 1);      /* TLS */
	cr_assert_eq(count_dead(record_of_thread), 0);

	uintptr_t former = stack_of_thread;

	thread = scan_create(note_stack, (void *)1);
	wait_for(&is_ready);
	cr_assert_eq(stack_of_thread, former);
	cr_assert_eq(count_dead(stack_of_thread), 1);
	is_over = true;
	pthread_join(thread, NULL);
}

/* A stack of the program's own: what becomes of it after the thread's end is the program's. */
Test(scan_threads, memory_that_was_a_stack_is_not_dead_once_it_is_used_otherwise, .init = scan_start)
{
	size_t nbytes = KIB(256);
	char *stack = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, stack, nbytes);
	check(pthread_create(&thread, &attr, scan_begin, scan_thread_plan(note_stack, NULL, false)) == 0);
	pthread_join(thread, NULL);
	memset(stack, 0, nbytes);
	cr_assert_eq(count_dead((uintptr_t)stack + 100), 0);
	munmap(stack, nbytes);
	cr_assert_eq(count_dead((uintptr_t)stack + 100), 0);
}

/* A thread that no wrapper saw: its stack's bounds are not known, all of it is a root. */
Test(scan_threads, the_stack_of_an_unknown_thread_is_not_dead, .init = scan_start)
{
	pthread_t thread;

	pthread_create(&thread, NULL, note_stack, (void *)1);
	wait_for(&is_ready);
	cr_assert_eq(count_dead(stack_of_thread), 0);
	cr_assert_geq(scan_count_roots(3), 64);
	is_over = true;
	pthread_join(thread, NULL);
}

static void *block_all(void *arg)
{
	uint64_t all = ~UINT64_C(0);

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof all);
	return spin(arg);
}

/* As our own code does it, only longer: half a second. */
static void *block_for_a_while(void *arg)
{
	uint64_t all = ~UINT64_C(0), saved;

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &saved, sizeof all);
	for (uint64_t end = os_now_ns() + 500000000; os_now_ns() < end;)
		turns[0]++;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &saved, NULL, sizeof saved);
	return spin(arg);
}

Test(scan_threads, a_thread_that_blocks_signals_and_runs_is_waited_for, .init = scan_start,
     .timeout = 100)
{
	pthread_t thread;

	pthread_create(&thread, NULL, block_for_a_while, &turns[1]);
	while (!turns[0])
		usleep(100);
	cr_assert(scan_stop());
	cr_assert_eq(scan_stop_info().nmissed, scan_ndeaf);
	scan_resume();
	is_over = true;
	pthread_join(thread, NULL);
}

Test(scan_threads, a_thread_that_does_not_answer_is_counted_and_runs_on, .init = scan_start,
     .timeout = 100)
{
	pthread_t thread[2];

	pthread_create(&thread[0], NULL, block_all, &turns[0]);
	pthread_create(&thread[1], NULL, spin, &turns[1]);
	while (!turns[0] || !turns[1])
		usleep(100);
	cr_assert(scan_stop());
	cr_assert_eq(scan_stop_info().nmissed, scan_ndeaf + 1);
	cr_assert_eq(scan_stop_info().nthreads, 1);

	unsigned long before = turns[0];

	while (turns[0] == before)
		;
	scan_resume();
	is_over = true;
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
}

static void *block_all_reading(void *fd)
{
	sigset_t all;
	char byte;

	sigfillset(&all);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
	turns[0] = 1;
	syscall(SYS_read, *(int *)fd, &byte, 1, scan_word(40));  /* in a register, and never used */
	return NULL;
}

Test(scan_threads, what_a_thread_that_does_not_answer_gave_the_kernel_is_shown, .init = scan_start,
     .timeout = 100)
{
	pthread_t thread;
	int fd[2];

	cr_assert_eq(pipe(fd), 0);
	thread = scan_create(block_all_reading, fd);
	while (!turns[0])
		usleep(100);
	usleep(20000);
	cr_assert_eq(scan_count_threads(40), 1);
	close(fd[1]);
	pthread_join(thread, NULL);
}

static _Atomic int waiting_tid;

static void nothing(int signo)
{
	(void)signo;
}

static void *wait_once(void *arg)
{
	waiting_tid = (int)syscall(SYS_gettid);
	poll(NULL, 0, -1);
	return arg;
}

/* Is it counted that a stop cut poll() short, if `signo` (0: none) comes during the stop? */
static bool is_counted(int signo)
{
	pthread_t thread;

	waiting_tid = 0;
	pthread_create(&thread, NULL, wait_once, NULL);
	while (!waiting_tid)
		usleep(100);
	usleep(20000);

	_Atomic uint32_t *count = cuts_of(waiting_tid);
	uint32_t before = *count;

	cr_assert(scan_stop());
	if (signo)
		syscall(SYS_tgkill, getpid(), waiting_tid, signo);
	scan_resume();
	pthread_join(thread, NULL);
	return *count != before;
}

Test(scan_threads, a_call_that_was_cut_short_is_counted_unless_the_program_had_a_part_in_it,
     .init = scan_start)
{
	struct sigaction action = { .sa_handler = nothing };

	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGCHLD, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
	cr_assert(is_counted(0));
	cr_assert(!is_counted(SIGUSR1));
	cr_assert(is_counted(SIGCHLD));         /* nobody handles it */
	cr_assert(is_counted(scan_threads_signal()));
}

static void note_end(void *arg)
{
	*(_Atomic bool *)arg = true;
}

static void *wait_to_be_cancelled(void *ended)
{
	pthread_cleanup_push(note_end, ended);
	is_ready = true;
	pause();
	pthread_cleanup_pop(0);
	return NULL;
}

Test(scan_threads, a_thread_that_is_cancelled_ends_after_the_resume, .init = scan_start)
{
	_Atomic bool has_ended = false;
	pthread_t thread;

	pthread_create(&thread, NULL, wait_to_be_cancelled, (void *)&has_ended);
	wait_for(&is_ready);
	usleep(20000);
	cr_assert(scan_stop());
	pthread_cancel(thread);
	usleep(20000);
	cr_assert(!has_ended);
	scan_resume();
	pthread_join(thread, NULL);
	cr_assert(has_ended);
}

Test(scan_threads, a_thread_on_the_stack_of_one_that_ended_holds_what_it_holds, .init = scan_start)
{
	pthread_t thread = scan_create(note_stack, NULL);

	is_over = true;
	pthread_join(thread, NULL);
	is_over = is_ready = false;
	pthread_create(&thread, NULL, note_stack, (void *)1);   /* it does not tell that it begins */
	wait_for(&is_ready);
	cr_assert_geq(scan_count_roots(3), 64);
	is_over = true;
	pthread_join(thread, NULL);
}

Test(scan_threads, a_program_that_resets_all_signals_is_stopped_all_the_same, .init = scan_start)
{
	pthread_t thread;

	pthread_create(&thread, NULL, spin, &turns[0]);
	signal(scan_threads_signal(), SIG_DFL);
	cr_assert(scan_stop());
	cr_assert_eq(scan_stop_info().nthreads, 1);
	scan_resume();
	signal(scan_threads_signal(), SIG_IGN);
	cr_assert(scan_stop());
	cr_assert_eq(scan_stop_info().nthreads, 1);
	scan_resume();
	is_over = true;
	pthread_join(thread, NULL);
}

Test(scan_threads, a_stray_signal_of_the_same_number_does_nothing, .init = scan_start)
{
	raise(scan_threads_signal());
	cr_assert(scan_stop());
	scan_resume();
}

static void *stop_often(void *arg)
{
	for (unsigned i = 0; i < 10; i++) {
		check(scan_stop());
		check(scan_stop_info().nmissed == scan_ndeaf);
		scan_resume();
	}
	return arg;
}

Test(scan_threads, threads_that_want_to_stop_the_world_take_turns, .init = scan_start)
{
	pthread_t thread[3];

	for (unsigned i = 0; i < 3; i++)
		thread[i] = scan_create(stop_often, NULL);
	stop_often(NULL);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
}

Test(scan_threads, a_forked_child_can_stop_its_own_threads, .init = scan_start)
{
	pthread_t thread = scan_create(spin, &turns[0]);
	int status;
	pid_t child;

	cr_assert(scan_stop());
	child = (pid_t)syscall(SYS_fork);
	if (child == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		scan_threads_fork_child();
		pthread_create(&thread, NULL, spin, &turns[1]);
		_exit(scan_stop() && scan_stop_info().nthreads == 1 ? 0 : 1);
	}
	scan_resume();
	waitpid(child, &status, 0);
	cr_assert_eq(status, 0);
	is_over = true;
	pthread_join(thread, NULL);
}

/* What another thread held when the process was forked is not lost in the child. */
Test(scan_threads, in_a_forked_child_the_stacks_of_the_others_are_not_dead, .init = scan_start)
{
	pthread_t thread = scan_create(hold_on_stack, NULL);
	int status;

	wait_for(&is_ready);

	pid_t child = fork();

	if (child == 0) {
		scan_threads_fork_child();
		_exit(scan_count_roots(3) >= 64 ? 0 : 1);
	}
	waitpid(child, &status, 0);
	cr_assert_eq(status, 0);
	is_over = true;
	pthread_join(thread, NULL);
}

/* The leader of the process is a zombie then, and its /proc/self/maps is empty. */
static void *look_without_leader(void *arg)
{
	int status = 0;

	pthread_join(*(pthread_t *)arg, NULL);
	status |= scan_count_roots(11) >= 1 ? 0 : 1;
	status |= scan_stop_info().nmissed == 0 && scan_stop_info().nthreads == 0 ? 0 : 2;
	_exit(status);
}

static volatile uintptr_t in_data = 1;

Test(scan_threads, a_process_whose_first_thread_has_left_is_looked_at, .init = scan_start)
{
	static pthread_t leader;
	int status;
	pid_t child = fork();

	if (child == 0) {
		scan_threads_fork_child();
		in_data = scan_word(11);
		leader = pthread_self();
		scan_create(look_without_leader, &leader);
		pthread_exit(NULL);
	}
	waitpid(child, &status, 0);
	cr_assert_eq(status, 0, "%x", status);
}

Test(scan_threads, signals_are_blocked_for_the_caller_until_the_resume, .init = scan_start)
{
	sigset_t now;

	cr_assert(scan_stop());
	sigprocmask(SIG_BLOCK, NULL, &now);
	cr_assert(sigismember(&now, SIGTERM));
	scan_resume();
	sigprocmask(SIG_BLOCK, NULL, &now);
	cr_assert_not(sigismember(&now, SIGTERM));
}
