/* scan_shown.c: what is shown of a stopped thread: registers, the live part of its stack, and no more. */
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/unit/scan.h"
#include "tests/wipe.h"

static _Atomic bool is_over, is_ready;

static void wait_for(_Atomic bool *flag)
{
	while (!*flag)
		usleep(100);
}

/* A thread that holds the word somewhere until it is told. */
static void check_is_shown(void *(*hold)(void *arg), unsigned number)
{
	pthread_t thread = scan_create(hold, NULL);

	wait_for(&is_ready);
	cr_assert_geq(scan_count_threads(number), 1);
	is_over = true;
	pthread_join(thread, NULL);
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

Test(scan_shown, registers_are_shown, .init = scan_start)
{
	if (CORE_HAS_ASAN)
		cr_skip("under ASan: its frames are elsewhere");
	check_is_shown(hold_in_register, 1);
	cr_assert_str_eq(scan_search.what, "stack");    /* the frame of the signal is a part of it */
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

Test(scan_shown, vector_registers_are_shown, .init = scan_start)
{
	check_is_shown(hold_in_vector, 2);
}

/* Below the stack pointer; the signal's frame is on the alternate stack, so that nothing else covers it. */
static void *hold_in_red_zone(void *arg)
{
	static char alternate[KIB(64)];
	stack_t alt = { .ss_sp = alternate, .ss_size = sizeof alternate };

	check(sigaltstack(&alt, NULL) == 0);

	uintptr_t word = scan_word(8);

	__asm__ volatile("movq %0, -128(%%rsp)\n\t"
	                 "xorq %0, %0\n\t"
	                 "movb $1, (%1)\n"
	                 "1:\tpause\n\t"
	                 "cmpb $0, (%2)\n\t"
	                 "je 1b\n\t"
	                 "movq $0, -128(%%rsp)"
	                 : "+r"(word) : "r"(&is_ready), "r"(&is_over) : "memory");
	return arg;
}

Test(scan_shown, the_red_zone_is_shown, .init = scan_start)
{
	check_is_shown(hold_in_red_zone, 8);
}
#endif

static void *hold_on_stack(void *arg)
{
	volatile uintptr_t word[64];

	for (unsigned i = 0; i < 64; i++)
		word[i] = scan_word(3);
	CLEAR_REGISTERS();                      /* else the frame of a signal has a copy, or the loader's */
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

Test(scan_shown, the_live_part_of_a_stack_is_shown_and_no_more, .init = scan_start)
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

Test(scan_shown, the_callers_own_frames_are_shown, .init = scan_start)
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
Test(scan_shown, an_alternate_stack_is_shown, .init = scan_start)
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

static void *never_run(void *arg)
{
	return arg;
}

static __attribute__((noinline)) struct scan_thread *plan_word(void)
{
	return scan_thread_plan(never_run, (void *)scan_word(7), false);
}

/* A thread that was created and did not begin yet. */
Test(scan_shown, an_argument_on_its_way_is_shown, .init = scan_start)
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
Test(scan_shown, the_stack_of_a_thread_that_ended_is_dead, .init = scan_start)
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
Test(scan_shown, memory_that_was_a_stack_is_not_dead_once_it_is_used_otherwise, .init = scan_start)
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
Test(scan_shown, the_stack_of_an_unknown_thread_is_not_dead, .init = scan_start)
{
	pthread_t thread;

	pthread_create(&thread, NULL, note_stack, (void *)1);
	wait_for(&is_ready);
	cr_assert_eq(count_dead(stack_of_thread), 0);
	cr_assert_geq(scan_count_roots(3), 64);
	is_over = true;
	pthread_join(thread, NULL);
}

Test(scan_shown, a_thread_on_the_stack_of_one_that_ended_holds_what_it_holds, .init = scan_start)
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

static void *stay(void *is_up)
{
	*(_Atomic bool *)is_up = true;
	wait_for(&is_over);
	return NULL;
}

static pthread_t create_on(char *stack, size_t nbytes, void *(*start)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, stack, nbytes);
	check(pthread_create(&thread, &attr, start, arg) == 0);
	pthread_attr_destroy(&attr);
	return thread;
}

static char *guard;

static void look_for_guard(uintptr_t from, uintptr_t to, const char *what, void *nfound)
{
	(void)what;
	*(unsigned *)nfound += (uintptr_t)guard >= from && (uintptr_t)guard < to;
}

/* One ended, its stack was given back, and two are there now that have not told that they begin: libc's record
 * of the upper one is where the former's was. What is between the two is nobody's stack, and what was
 * the former's is not dead. */
Test(scan_shown, of_two_threads_where_one_was_no_more_is_shown_than_is_theirs, .init = scan_start)
{
	size_t nbytes = KIB(512), half = nbytes / 2;
	char *stack = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t former = create_on(stack, nbytes, scan_begin, scan_thread_plan(note_stack, NULL, false));
	static _Atomic bool is_lower_up, is_upper_up;
	unsigned nfound = 0;

	pthread_join(former, NULL);
	guard = stack + half;
	check(mprotect(guard, KIB(4), PROT_NONE) == 0);

	pthread_t upper = create_on(guard + KIB(4), half - KIB(4), stay, (void *)&is_upper_up);
	pthread_t lower = create_on(stack, half, stay, (void *)&is_lower_up);

	wait_for(&is_lower_up);
	wait_for(&is_upper_up);
	cr_assert_eq((uintptr_t)upper, record_of_thread, "or this shows nothing");
	cr_assert(scan_stop());
	scan_threads_visit(look_for_guard, &nfound);
	scan_resume();
	cr_assert_eq(nfound, 0);
	cr_assert_eq(count_dead((uintptr_t)stack + KIB(16)), 0);
	is_over = true;
	pthread_join(upper, NULL);
	pthread_join(lower, NULL);
}

/* What another thread held when the process was forked is not lost in the child. */
Test(scan_shown, in_a_forked_child_the_stacks_of_the_others_are_not_dead, .init = scan_start)
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
