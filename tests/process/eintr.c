/* eintr.c: in modes leaks and gc no call fails with EINTR because threads are stopped. What has a time
 * ends at it, not earlier; a signal of the program's shows as ever.
 *   timeout: 240
 *   leaks: it sets the mode itself
 */
#include "tests/process/eintr.h"
#include "tests/process/eintr_ipc.h"

#include <mqueue.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/select.h>
#include <threads.h>

extern int __poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t nbytes);

static const struct timespec longest = { .tv_nsec = MS * 1000000 };

static struct timespec end_on(clockid_t clock)
{
	struct timespec t = now(clock);

	t.tv_nsec += MS * 1000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return t;
}

/* --- descriptors --- */

static int do_poll(void)
{
	struct pollfd p = { .fd = silent[0], .events = POLLIN };

	return error_of(poll(&p, 1, MS));
}

static int do_poll_chk(void)
{
	struct pollfd p = { .fd = silent[0], .events = POLLIN };

	return error_of(__poll_chk(&p, 1, MS, sizeof p));
}

static int do_poll_for_ever(void)
{
	return error_of(poll(NULL, 0, -1));
}

static sigset_t most(void)
{
	sigset_t set;

	sigfillset(&set);
	sigdelset(&set, SIGUSR1);
	return set;
}

static int do_ppoll(void)
{
	sigset_t set = most();
	struct pollfd p = { .fd = silent[0], .events = POLLIN };

	return error_of(ppoll(&p, 1, &longest, &set));
}

static int do_select(void)
{
	struct timeval t = { .tv_usec = MS * 1000 };
	fd_set in;

	FD_ZERO(&in);
	FD_SET(silent[0], &in);

	int error = error_of(select(silent[0] + 1, &in, NULL, NULL, &t));

	CHECK(error || (t.tv_sec == 0 && t.tv_usec == 0));
	return error;
}

static int do_pselect(void)
{
	sigset_t set = most();

	return error_of(pselect(0, NULL, NULL, NULL, &longest, &set));
}

static int with_epoll(int (*wait)(int fd, struct epoll_event *e))
{
	struct epoll_event e = { .events = EPOLLIN };
	int fd = epoll_create1(EPOLL_CLOEXEC);

	CHECK(fd >= 0);

	int error = error_of(wait(fd, &e));

	close(fd);
	return error;
}

static int wait_1(int fd, struct epoll_event *e)
{
	return epoll_wait(fd, e, 1, MS);
}

static int do_epoll_wait(void)
{
	return with_epoll(wait_1);
}

static int wait_2(int fd, struct epoll_event *e)
{
	sigset_t set = most();

	return epoll_pwait(fd, e, 1, MS, &set);
}

static int do_epoll_pwait(void)
{
	return with_epoll(wait_2);
}

static int wait_3(int fd, struct epoll_event *e)
{
	sigset_t set = most();

	return epoll_pwait2(fd, e, 1, &longest, &set);
}

static int do_epoll_pwait2(void)
{
	int error = with_epoll(wait_3);

	return error == ENOSYS ? -1 : error;
}

/* --- sleeping --- */

static int do_nanosleep(void)
{
	return error_of(nanosleep(&longest, NULL));
}

static int do_clock_nanosleep(void)
{
	return clock_nanosleep(CLOCK_MONOTONIC, 0, &longest, NULL);
}

static int do_clock_nanosleep_until(void)
{
	struct timespec end = end_on(CLOCK_MONOTONIC);

	return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL);
}

static int do_usleep(void)
{
	return error_of(usleep(MS * 1000));
}

static int do_sleep(void)
{
	errno = 0;
	sleep(1);                               /* whole seconds left: 0 */
	return errno;
}

static int do_thrd_sleep(void)
{
	return thrd_sleep(&longest, NULL) == -1 ? EINTR : 0;
}

static int do_pause(void)
{
	return error_of(pause());
}

static int do_sigsuspend(void)
{
	sigset_t set = most();

	return error_of(sigsuspend(&set));
}

static sigset_t only(int signo)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signo);
	return set;
}

static int do_sigtimedwait(void)
{
	sigset_t set = only(SIGUSR2);

	return error_of(sigtimedwait(&set, NULL, &longest));
}

static int do_sigwaitinfo(void)
{
	sigset_t set = only(SIGUSR2);

	return error_of(sigwaitinfo(&set, NULL));
}

/* --- semaphores, messages, locks --- */

static int do_sem_wait(void)
{
	sem_t sem;

	sem_init(&sem, 0, 0);
	return error_of(sem_wait(&sem));
}

static int do_sem_timedwait(void)
{
	struct timespec end = end_on(CLOCK_REALTIME);
	sem_t sem;

	sem_init(&sem, 0, 0);
	return error_of(sem_timedwait(&sem, &end));
}

static int do_sem_clockwait(void)
{
	struct timespec end = end_on(CLOCK_MONOTONIC);
	sem_t sem;

	sem_init(&sem, 0, 0);
	return error_of(sem_clockwait(&sem, CLOCK_MONOTONIC, &end));
}

static int do_semop(void)
{
	struct sembuf take = { .sem_op = -1 };

	return error_of(semop(semaphores, &take, 1));
}

static int do_semtimedop(void)
{
	struct sembuf take = { .sem_op = -1 };

	return error_of(semtimedop(semaphores, &take, 1, &longest));
}

struct message {
	long type;
	char text[1024];
};

static int do_msgrcv(void)
{
	struct message m;

	return error_of(msgrcv(queue, &m, sizeof m.text, 2, 0));
}

static int do_msgsnd(void)
{
	struct message m = { .type = 1 };

	while (!msgsnd(queue, &m, sizeof m.text, 0))
		;
	return errno;
}

static int do_mq_timedreceive(void)
{
	struct timespec end = end_on(CLOCK_REALTIME);
	struct mq_attr attr = { .mq_maxmsg = 1, .mq_msgsize = 16 };
	char name[40], text[16];

	sprintf(name, "/spangc-eintr-%d", getpid());

	mqd_t q = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);

	if (q == (mqd_t)-1)
		return -1;
	mq_unlink(name);

	int error = error_of(mq_timedreceive(q, text, sizeof text, NULL, &end));

	mq_close(q);
	return error;
}

static int do_cond_timedwait(void)
{
	struct timespec end = end_on(CLOCK_REALTIME);
	pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&mutex);
	return pthread_cond_timedwait(&condition, &mutex, &end);
}

static int do_flock(void)
{
	char path[] = "/tmp/spangc-eintr-XXXXXX";
	int holder = mkstemp(path), fd = open(path, O_RDWR | O_CLOEXEC);

	unlink(path);
	CHECK(holder >= 0 && fd >= 0 && flock(holder, LOCK_EX) == 0);

	int error = error_of(flock(fd, LOCK_EX));

	close(fd);
	close(holder);
	return error;
}

/* --- other processes --- */

static int do_system(void)
{
	return system("exec sleep 0.3") == 0 ? 0 : EINTR;
}

static int do_waitpid(void)
{
	pid_t child = fork();

	if (child == 0) {
		sleep_ms(MS + 5);
		_exit(0);
	}
	return error_of(waitpid(child, NULL, 0));
}

static const struct row rows[] = {
	{ "poll", do_poll, TIMED, 0 },
	{ "__poll_chk", do_poll_chk, TIMED, 0 },
	{ "poll, for ever", do_poll_for_ever, ENDLESS, 0 },
	{ "ppoll", do_ppoll, TIMED, 0 },
	{ "select", do_select, TIMED, 0 },
	{ "pselect", do_pselect, TIMED, 0 },
	{ "epoll_wait", do_epoll_wait, TIMED, 0 },
	{ "epoll_pwait", do_epoll_pwait, TIMED, 0 },
	{ "epoll_pwait2", do_epoll_pwait2, TIMED, 0 },
	{ "nanosleep", do_nanosleep, TIMED, 0 },
	{ "clock_nanosleep", do_clock_nanosleep, TIMED, 0 },
	{ "clock_nanosleep, until", do_clock_nanosleep_until, TIMED, 0 },
	{ "usleep", do_usleep, TIMED, 0 },
	{ "sleep", do_sleep, TIMED, 0 },
	{ "thrd_sleep", do_thrd_sleep, TIMED, 0 },
	{ "pause", do_pause, ENDLESS, 0 },
	{ "sigsuspend", do_sigsuspend, ENDLESS, 0 },
	{ "sigtimedwait", do_sigtimedwait, TIMED, EAGAIN },
	{ "sigwaitinfo", do_sigwaitinfo, ENDLESS, 0 },
	{ "sem_wait", do_sem_wait, ENDLESS, 0 },
	{ "sem_timedwait", do_sem_timedwait, TIMED, ETIMEDOUT },
	{ "sem_clockwait", do_sem_clockwait, TIMED, ETIMEDOUT },
	{ "semop", do_semop, ENDLESS, 0 },
	{ "semtimedop", do_semtimedop, TIMED, EAGAIN },
	{ "msgrcv", do_msgrcv, ENDLESS, 0 },
	{ "msgsnd", do_msgsnd, ENDLESS, 0 },
	{ "mq_timedreceive", do_mq_timedreceive, TIMED, ETIMEDOUT },
	{ "pthread_cond_timedwait", do_cond_timedwait, STEADY, ETIMEDOUT },
	{ "flock", do_flock, ENDLESS, 0 },
	{ "system", do_system, STEADY, 0 },
	{ "waitpid", do_waitpid, STEADY, 0 },
};

int main(int argc, char **argv)
{
	(void)argv;
	return eintr_main(argc, rows, COUNT(rows), prepare, tidy_up);
}
