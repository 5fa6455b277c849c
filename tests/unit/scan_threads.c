/* scan_threads.c: stopping the world. What is shown of the threads then: scan_shown.c. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "scan/cuts.h"
#include "tests/blocked_in.h"
#include "tests/unit/scan.h"

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

static _Atomic int waiting_tid;

static void *block_all_reading(void *fd)
{
	sigset_t all;
	char byte;

	sigfillset(&all);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
	waiting_tid = (int)syscall(SYS_gettid);
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
	while (!waiting_tid)
		usleep(100);
	wait_until_blocked_in(waiting_tid, SYS_read);
	cr_assert_eq(scan_count_threads(40), 1);
	close(fd[1]);
	pthread_join(thread, NULL);
}

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
	wait_until_blocked_in(waiting_tid, SYS_poll);

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
