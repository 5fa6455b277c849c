/* sigmask.c: which signals wait between block and restore, and which do not; what writing raises. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/sigmask.h"

static volatile sig_atomic_t ncaught;

static void note(int signo)
{
	(void)signo;
	ncaught++;
}

static bool is_open(int signo)
{
	return signo == SIGSEGV || signo == SIGBUS || signo == SIGILL || signo == SIGFPE
	       || signo == SIGTRAP || signo == SIGSYS || signo == SIGABRT;
}

Test(sigmask, a_signal_waits_until_the_mask_is_restored)
{
	struct sigmask saved;

	signal(SIGUSR1, note);
	sigmask_block(&saved);
	raise(SIGUSR1);
	cr_assert_eq(ncaught, 0);
	sigmask_restore(&saved);
	cr_assert_eq(ncaught, 1);
}

Test(sigmask, all_but_faults_are_blocked)
{
	struct sigmask saved;
	sigset_t now;

	sigmask_block(&saved);
	sigprocmask(SIG_BLOCK, NULL, &now);
	for (int signo = 1; signo <= 64; signo++) {
		if (signo == SIGKILL || signo == SIGSTOP || signo == 32 || signo == 33)
			continue;                       /* libc does not show 32 and 33 */
		cr_assert_eq(!sigismember(&now, signo), is_open(signo), "%d", signo);
	}
}

Test(sigmask, what_the_program_had_blocked_stays_blocked)
{
	struct sigmask outer, inner;
	sigset_t mine, now;

	sigemptyset(&mine);
	sigaddset(&mine, SIGUSR2);
	sigaddset(&mine, SIGSEGV);
	sigprocmask(SIG_SETMASK, &mine, NULL);
	errno = ERANGE;
	sigmask_block(&outer);
	sigmask_block(&inner);
	sigprocmask(SIG_BLOCK, NULL, &now);
	cr_assert(sigismember(&now, SIGSEGV), "a fault the program had blocked");
	sigmask_restore(&inner);
	sigmask_restore(&outer);
	cr_assert_eq(errno, ERANGE);
	sigprocmask(SIG_BLOCK, NULL, &now);
	for (int signo = 1; signo < 32; signo++)
		cr_assert_eq(sigismember(&now, signo), sigismember(&mine, signo), "%d", signo);
}

/* The write end of a pipe whose reader has gone. */
static int broken_pipe(void)
{
	int ends[2];

	cr_assert_eq(pipe(ends), 0);
	close(ends[0]);
	return ends[1];
}

static bool is_pending(int signo)
{
	sigset_t pending;

	return !sigpending(&pending) && sigismember(&pending, signo);
}

Test(sigmask, a_write_into_a_broken_pipe_is_told_and_raises_nothing)
{
	int fd = broken_pipe();

	errno = ERANGE;
	cr_assert_not(sigmask_write(fd, "text", 4));
	cr_assert_eq(errno, ERANGE);
	cr_assert_not(is_pending(SIGPIPE));
}

Test(sigmask, a_pipe_signal_that_waited_before_stays)
{
	int fd = broken_pipe();
	sigset_t pipe_signal;

	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	sigprocmask(SIG_BLOCK, &pipe_signal, NULL);
	cr_assert_not(sigmask_write(fd, "text", 4));
	cr_assert_not(is_pending(SIGPIPE));
	raise(SIGPIPE);
	cr_assert_not(sigmask_write(fd, "text", 4));
	cr_assert(is_pending(SIGPIPE));
}

Test(sigmask, a_file_at_its_limit_takes_what_fits_and_raises_nothing)
{
	const struct rlimit few = { 6, 6 };
	FILE *file = tmpfile();

	cr_assert(file);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &few), 0);
	cr_assert(sigmask_write(fileno(file), "text", 4));
	cr_assert_not(sigmask_write(fileno(file), "text", 4));
	cr_assert_eq(lseek(fileno(file), 0, SEEK_END), 6);
	cr_assert_not(is_pending(SIGXFSZ));
}
