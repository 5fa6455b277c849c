/* stop_signal.c: in mode leaks threads can be stopped whatever they do with their signals, and the
 * program may use the same signal number; in mode malloc there is no handler of ours.
 *
 * Each thread holds a block on its own stack alone: if one were not stopped, or its stack not read,
 * the check for leaks would find it.
 *   leaks: it sets the mode itself
 */
#include "tests/process/process.h"

#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>

#define STOP (SIGRTMAX - 4)
#define CHECK_MS 80                             /* a thread that is deaf costs 100 */

extern int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static _Atomic int nready;
static _Atomic bool is_over;

static sigset_t all(void)
{
	sigset_t set;

	sigfillset(&set);
	return set;
}

/* The block's address, in the frame that waits and nowhere else. */
static void hold(void (*wait)(void))
{
	void *volatile p = malloc(100);

	nready++;
	wait();
	free(p);
}

static void turn(void)
{
	while (!is_over)
		;
}

static void *block_by_thread(void *arg)
{
	sigset_t set = all(), old;

	CHECK(pthread_sigmask(SIG_SETMASK, &set, NULL) == 0);
	CHECK(pthread_sigmask(SIG_SETMASK, NULL, &old) == 0);
	CHECK(sigismember(&old, SIGTERM) && sigismember(&old, SIGRTMAX));
	hold(turn);
	return arg;
}

static void *block_by_process(void *arg)
{
	sigset_t set = all();

	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	hold(turn);
	return arg;
}

static void wait_for_signal(void)
{
	const struct timespec longest = { .tv_nsec = 10000000 };
	sigset_t set = all();

	while (!is_over)
		CHECK(sigtimedwait(&set, NULL, &longest) != STOP);
}

static void *take_signals(void *arg)
{
	hold(wait_for_signal);
	return arg;
}

/* Who sleeps in read() would take the signal before the handler does. */
static void read_signals(void)
{
	sigset_t set = all();
	struct signalfd_siginfo info;
	int fd = signalfd(-1, &set, SFD_CLOEXEC);

	CHECK(fd >= 0);
	do
		CHECK(read(fd, &info, sizeof info) == sizeof info);
	while (info.ssi_signo != SIGUSR2);
	close(fd);
}

static void *sleep_reading(void *arg)
{
	sigset_t set = all();

	CHECK(pthread_sigmask(SIG_SETMASK, &set, NULL) == 0);
	hold(read_signals);
	return arg;
}

static void suspend(void)
{
	sigset_t set = all();

	sigdelset(&set, SIGUSR2);
	while (!is_over)
		sigsuspend(&set);
}

static void *sleep_suspended(void *arg)
{
	hold(suspend);
	return arg;
}

static void in_handler(int signo)
{
	(void)signo;
	nready++;
	turn();
}

/* Nothing in the handler changes the mask that it began with; malloc() may. */
static void *handle(void *arg)
{
	struct sigaction action = { .sa_handler = in_handler, .sa_mask = all() };
	void *volatile p = malloc(100);

	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	pthread_kill(pthread_self(), SIGUSR1);
	free(p);
	return arg;
}

static _Atomic int ntaken;

static void take(int signo)
{
	ntaken += signo == STOP;
}

/* The program's own use of the number. */
static void use_number(bool is_ours)
{
	struct sigaction action = { .sa_handler = take }, old;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, STOP);
	CHECK(sigaction(STOP, NULL, &old) == 0 && old.sa_handler == SIG_DFL);
	CHECK(sigaction(STOP, &action, NULL) == 0);
	CHECK(sigaction(STOP, NULL, &old) == 0 && old.sa_handler == take);
	raise(STOP);
	CHECK(ntaken == !is_ours);

	int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	struct signalfd_siginfo info;

	CHECK(fd >= 0);
	raise(STOP);
	CHECK(read(fd, &info, sizeof info) < 0 && errno == EAGAIN);
	close(fd);
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void stop_all_kinds(void)
{
	void *(*const kinds[])(void *) = { block_by_thread, block_by_process, take_signals,
	                                   sleep_suspended, handle, sleep_reading };
	pthread_t thread[COUNT(kinds)];
	double least = 1e9;

	for (size_t i = 0; i < COUNT(kinds); i++)
		CHECK(pthread_create(&thread[i], NULL, kinds[i], NULL) == 0);
	while (nready < (int)COUNT(kinds))
		sleep_ms(1);
	sleep_ms(20);
	/* Each check would wait for a deaf one; a busy machine is slow now and then only. */
	for (unsigned round = 0; round < 5 || (round < 50 && least >= CHECK_MS); round++) {
		double started = now_ms();

		CHECK(__lsan_do_recoverable_leak_check() == 0);
		if (now_ms() - started < least)
			least = now_ms() - started;
	}
	CHECKF(least < CHECK_MS, "%.1f ms", least);
	is_over = true;
	pthread_kill(thread[3], SIGUSR2);
	pthread_kill(thread[5], SIGUSR2);
	for (size_t i = 0; i < COUNT(kinds); i++)
		pthread_join(thread[i], NULL);
}

static uint64_t caught(void)
{
	return strtoull(strstr(proc_text("/proc/self/status"), "\nSigCgt:") + 8, NULL, 16);
}

static void nothing(int signo)
{
	(void)signo;
}

static void set_leaks(void)
{
	setenv("SPANGC_MODE", "leaks", 1);
}

int main(int argc, char **argv)
{
	struct outcome o;

	(void)argc;
	if (!preloaded_library())
		SKIP("runs with the library only");
	watchdog(100);
	if (argv[1]) {
		signal(SIGUSR2, nothing);
		use_number(true);
		stop_all_kinds();
		return 0;
	}
	signal(SIGALRM, SIG_DFL);
	CHECKF(caught() == 0, "%llx", (unsigned long long)caught());
	use_number(false);
	run_program(&o, (char *[]){ (char *)"/proc/self/exe", (char *)"leaks", NULL }, set_leaks);
	CHECKF(WIFEXITED(o.status) && WEXITSTATUS(o.status) == 0, "%x: %s", o.status, o.err);
	return 0;
}
