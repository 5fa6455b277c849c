/* eintr_raw.c: what eintr.c asks of libc's functions, of calls made by syscall(2).
 *   timeout: 240
 *   leaks: it sets the mode itself
 */
#include "tests/process/eintr.h"
#include "tests/process/eintr_ipc.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>


/* As the kernel has masks. What stops threads is among most, too. */
static const uint64_t most = ~(UINT64_C(1) << (SIGUSR1 - 1)), only_usr2 = UINT64_C(1) << (SIGUSR2 - 1);

static int do_poll(void)
{
	struct pollfd p = { .fd = silent[0], .events = POLLIN };

	return error_of(syscall(SYS_poll, &p, 1, MS));
}

static int do_poll_for_ever(void)
{
	return error_of(syscall(SYS_poll, NULL, 0, -1));
}

/* Counted down by the kernel. */
static int do_ppoll(void)
{
	struct timespec t = { .tv_nsec = MS * 1000000 };

	return error_of(syscall(SYS_ppoll, NULL, 0, &t, &most, sizeof most));
}

static int do_ppoll_for_ever(void)
{
	return error_of(syscall(SYS_ppoll, NULL, 0, NULL, &most, sizeof most));
}

static int do_select(void)
{
	struct timeval t = { .tv_usec = MS * 1000 };

	return error_of(syscall(SYS_select, 0, NULL, NULL, NULL, &t));
}

static int do_pselect(void)
{
	struct { const uint64_t *set; size_t nbytes; } mask = { &most, sizeof most };
	struct timespec t = { .tv_nsec = MS * 1000000 };

	return error_of(syscall(SYS_pselect6, 0, NULL, NULL, NULL, &t, &mask));
}

static int epoll_with(int how)
{
	static const struct timespec longest = { .tv_nsec = MS * 1000000 };
	struct epoll_event e;
	int fd = epoll_create1(EPOLL_CLOEXEC), error;

	CHECK(fd >= 0);
	if (how == 0)
		error = error_of(syscall(SYS_epoll_wait, fd, &e, 1, MS));
	else if (how == 1)
		error = error_of(syscall(SYS_epoll_pwait, fd, &e, 1, MS, &most, sizeof most));
	else
		error = error_of(syscall(SYS_epoll_pwait2, fd, &e, 1, &longest, &most, sizeof most));
	close(fd);
	return error == ENOSYS ? -1 : error;
}

static int do_epoll_wait(void)
{
	return epoll_with(0);
}

static int do_epoll_pwait(void)
{
	return epoll_with(1);
}

static int do_epoll_pwait2(void)
{
	return epoll_with(2);
}

static int do_nanosleep(void)
{
	static const struct timespec longest = { .tv_nsec = MS * 1000000 };

	return error_of(syscall(SYS_nanosleep, &longest, NULL));
}

static int do_clock_nanosleep(void)
{
	static const struct timespec longest = { .tv_nsec = MS * 1000000 };

	return error_of(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &longest, NULL));
}

static int do_clock_nanosleep_until(void)
{
	struct timespec t = now(CLOCK_MONOTONIC);

	t.tv_nsec += MS * 1000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return error_of(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL));
}

static int do_futex(void)
{
	static const struct timespec longest = { .tv_nsec = MS * 1000000 };
	uint32_t word = 0;

	return error_of(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &longest, NULL, 0));
}

static int do_futex_until(void)
{
	struct timespec t = now(CLOCK_MONOTONIC);
	uint32_t word = 0;

	t.tv_sec++;
	return error_of(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, &t, NULL,
	                        FUTEX_BITSET_MATCH_ANY));
}

static int do_sigtimedwait(void)
{
	static const struct timespec longest = { .tv_nsec = MS * 1000000 };
	uint64_t set = only_usr2 | UINT64_C(1) << (SIGRTMAX - 4 - 1);  /* what stops threads */

	return error_of(syscall(SYS_rt_sigtimedwait, &set, NULL, &longest, sizeof set));
}

static int do_sigsuspend(void)
{
	return error_of(syscall(SYS_rt_sigsuspend, &most, sizeof most));
}

static int do_pause(void)
{
	return error_of(syscall(SYS_pause));
}

static int do_semop(void)
{
	struct sembuf down = { .sem_op = -1 };

	return error_of(syscall(SYS_semop, semaphores, &down, 1));
}

static int do_semtimedop(void)
{
	static const struct timespec longest = { .tv_nsec = MS * 1000000 };
	struct sembuf down = { .sem_op = -1 };

	return error_of(syscall(SYS_semtimedop, semaphores, &down, 1, &longest));
}

static int do_msgrcv(void)
{
	struct { long type; char text[8]; } message;

	return error_of(syscall(SYS_msgrcv, queue, &message, sizeof message.text, 0, 0));
}

static const struct row rows[] = {
	{ "poll", do_poll, TIMED, 0 },
	{ "poll, for ever", do_poll_for_ever, ENDLESS, 0 },
	{ "ppoll", do_ppoll, TIMED, 0 },
	{ "ppoll, for ever", do_ppoll_for_ever, ENDLESS, 0 },
	{ "select", do_select, TIMED, 0 },
	{ "pselect6", do_pselect, TIMED, 0 },
	{ "epoll_wait", do_epoll_wait, TIMED, 0 },
	{ "epoll_pwait", do_epoll_pwait, TIMED, 0 },
	{ "epoll_pwait2", do_epoll_pwait2, TIMED, 0 },
	{ "nanosleep", do_nanosleep, TIMED, 0 },
	{ "clock_nanosleep", do_clock_nanosleep, TIMED, 0 },
	{ "clock_nanosleep, until", do_clock_nanosleep_until, TIMED, 0 },
	{ "futex", do_futex, TIMED, ETIMEDOUT },
	{ "futex, until", do_futex_until, STEADY, ETIMEDOUT },
	{ "rt_sigtimedwait", do_sigtimedwait, TIMED, EAGAIN },
	{ "rt_sigsuspend", do_sigsuspend, ENDLESS, 0 },
	{ "pause", do_pause, ENDLESS, 0 },
	{ "semop", do_semop, ENDLESS, 0 },
	{ "semtimedop", do_semtimedop, TIMED, EAGAIN },
	{ "msgrcv", do_msgrcv, ENDLESS, 0 },
};

int main(int argc, char **argv)
{
	(void)argv;
	return eintr_main(argc, rows, COUNT(rows), prepare, tidy_up);
}
