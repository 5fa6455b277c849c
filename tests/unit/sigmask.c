/* sigmask.c: which signals wait between block and restore, and which do not. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>

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
