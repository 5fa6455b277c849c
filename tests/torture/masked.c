/* masked.c: threads that block all signals, or wait for some, while they write to the heap, hold objects,
 * sleep and read; masks are what the program made them.
 *
 * also: SPANGC_VERIFY=1
 */
#include "tests/torture/torture.h"
#include "tests/torture/objects.h"

#include <spawn.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#define NHELD 200

static int channel[2];

static void check_mask(const sigset_t *expected)
{
	sigset_t set;

	CHECK(pthread_sigmask(SIG_SETMASK, NULL, &set) == 0);
	for (int signo = 1; signo < 32; signo++) {
		if (signo == SIGKILL || signo == SIGSTOP)
			continue;
		CHECKF(sigismember(&set, signo) == sigismember(expected, signo), "signal %d", signo);
	}
}

static void write_on(uint64_t seed, const sigset_t *mask)
{
	struct ref *held = calloc(NHELD, sizeof *held);
	uint64_t rng = seed, serial = seed << 20;

	while (torture_goes_on()) {
		unsigned i = (unsigned)(next_random(&rng) % NHELD);

		torture_count(object_walk(held[i], true));
		held[i] = object_make(serial++);
		make_garbage(&rng);
		if (i % 16 == 0)
			check_mask(mask);
	}
	free(held);
}

static void *all_blocked(void *arg)
{
	sigset_t all;

	sigfillset(&all);
	CHECK(pthread_sigmask(SIG_BLOCK, &all, NULL) == 0);
	CHECK(pthread_sigmask(SIG_SETMASK, NULL, &all) == 0);
	CHECK(sigismember(&all, SIGSEGV) && sigismember(&all, SIGSYS) && sigismember(&all, SIGTERM));
	write_on((uintptr_t)arg, &all);
	return NULL;
}

static void *born_there(void *arg)
{
	sigset_t set;

	CHECK(pthread_sigmask(SIG_SETMASK, NULL, &set) == 0 && sigismember(&set, SIGTERM) == 1);
	hide(memset(hide(malloc(100)), 1, 100));
	return arg;
}

static void *has_children(void *arg)
{
	extern char **environ;
	char *argv[] = { "/bin/true", NULL };
	sigset_t all;

	sigfillset(&all);
	CHECK(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
	while (torture_goes_on()) {
		pid_t child;
		int status;

		join_thread(start_thread(born_there, arg));
		CHECK(posix_spawn(&child, argv[0], NULL, NULL, argv, environ) == 0);
		CHECK(waitpid(child, &status, 0) == child && status == 0);
		child = fork();
		if (child == 0) {
			hide(memset(hide(malloc(100)), 1, 100));
			_exit(0);
		}
		CHECK(waitpid(child, &status, 0) == child && status == 0);
	}
	return NULL;
}

/* Its own signals arrive as they should: one wait, one signal, with its value, in a block. */
static void *waits(void *arg)
{
	sigset_t set;
	siginfo_t *info = malloc(sizeof *info);

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	for (int n = 0; torture_goes_on(); n++) {
		union sigval value = { .sival_int = n };

		CHECK(pthread_sigqueue(pthread_self(), n % 2 ? SIGUSR1 : SIGUSR2, value) == 0);
		CHECK(sigwaitinfo(&set, info) == (n % 2 ? SIGUSR1 : SIGUSR2));
		CHECK(info->si_value.sival_int == n);
		free(hide(malloc(1000)));
	}
	free(info);
	return arg;
}

static void *reads_signals(void *arg)
{
	struct signalfd_siginfo *got = malloc(sizeof *got);
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 3);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	CHECK(fd >= 0);
	while (torture_goes_on()) {
		CHECK(pthread_sigqueue(pthread_self(), SIGRTMIN + 3, (union sigval){ .sival_int = 5 }) == 0);
		CHECK(read(fd, got, sizeof *got) == sizeof *got);
		CHECK(got->ssi_signo == (uint32_t)SIGRTMIN + 3 && got->ssi_int == 5);
		free(hide(malloc(1000)));
	}
	close(fd);
	free(got);
	return arg;
}

static struct ref sent[64];
static _Atomic uint64_t nreceived;

/* Blocks all signals and is in read() nearly always; what comes is the only reference to an object. */
static void *reads(void *arg)
{
	sigset_t all;
	struct ref *r = malloc(sizeof *r);

	sigfillset(&all);
	CHECK(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
	while (read(channel[0], r, sizeof *r) == sizeof *r) {
		nreceived++;
		let_collections_pass(1);
		torture_count(object_walk(*r, true));
	}
	free(r);
	return arg;
}

int main(void)
{
	pthread_t thread[7];
	unsigned n = 0;
	uint64_t serial = 1;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGRTMIN + 3);
	CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0 && pipe(channel) == 0);
	torture_begin();
	for (; n < 2; n++)
		thread[n] = start_thread(all_blocked, (void *)(uintptr_t)(n + 1));
	thread[n++] = start_thread(has_children, NULL);
	thread[n++] = start_thread(waits, NULL);
	thread[n++] = start_thread(reads_signals, NULL);
	thread[n++] = start_thread(reads, NULL);
	while (torture_goes_on()) {
		struct ref *r = &sent[serial % COUNT(sent)];    /* kept until it has arrived */

		*r = object_make(serial++);
		CHECK(write(channel[1], r, sizeof *r) == sizeof *r);
		do
			sleep_ms(1);
		while (serial - nreceived > COUNT(sent) / 2 && torture_goes_on());
	}
	close(channel[1]);
	while (n--)
		join_thread(thread[n]);
	return torture_end();
}
