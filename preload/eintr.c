/* eintr.c: calls that a stop cut short go on, so that the program does not notice.
 *
 *     poll, select, epoll_wait and their kin      with what is left of the time; and the stop signal
 *                                                 is taken out of the mask that they wait with
 *     nanosleep, sleep and their kin              with what is left
 *     sem_timedwait, sem_clockwait, semop,        as they were: their time is absolute, or none
 *     semtimedop, msgsnd, msgrcv, pause
 *     calls on a socket with SO_RCVTIMEO or       as they were, after waiting with what is left
 *     SO_SNDTIMEO
 *     write, send, sendto, recv with MSG_WAITALL  also for the rest, where a part was done
 * sigsuspend, sigwaitinfo and sigtimedwait are in signals.c. Everything else is restarted by the
 * kernel. What cut a call short says scan/cuts.h: a signal of the program's shows as ever.
 *
 * In modes that stop threads these functions stand in for libc's through imports.h; in mode malloc
 * nobody gets here. A call goes through libc's function, so that it stays a place where a thread can
 * be cancelled.
 *
 * Not reached: calls inside libc (a resolver's poll(), stdio on a socket with a timeout), by syscall(),
 * or by an address from dlsym(). writev and sendmsg may have written a part.
 */
#include "preload/preload.h"

#include "core/os.h"
#include "preload/imports.h"
#include "scan/cuts.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)
#define COARSE_MS 10                            /* a step of the coarse clock is not longer */
#define FOREVER UINT64_MAX

/* What programs compiled with _FORTIFY_SOURCE call. */
extern int __poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t nbytes);
extern int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *t, const sigset_t *mask,
                       size_t nbytes);
extern ssize_t __read_chk(int fd, void *to, size_t n, size_t nbytes);
extern ssize_t __recv_chk(int fd, void *to, size_t n, size_t nbytes, int flags);
extern ssize_t __recvfrom_chk(int fd, void *to, size_t n, size_t nbytes, int flags,
                              struct sockaddr *from, socklen_t *len);

#define FUNCTIONS(F) \
	F(poll) F(__poll_chk) F(ppoll) F(__ppoll_chk) F(select) F(pselect) F(epoll_wait) \
	F(epoll_pwait) F(epoll_pwait2) F(nanosleep) F(clock_nanosleep) F(usleep) F(sleep) \
	F(thrd_sleep) F(sem_timedwait) F(sem_clockwait) F(semop) F(semtimedop) F(msgrcv) F(msgsnd) \
	F(pause) F(read) F(__read_chk) F(readv) F(recv) F(__recv_chk) F(recvfrom) F(__recvfrom_chk) \
	F(recvmsg) F(recvmmsg) F(accept) F(accept4) F(connect) F(write) F(writev) F(send) F(sendto) \
	F(sendmsg) F(sendmmsg)

enum {
#define F(name) NR_##name,
	FUNCTIONS(F)
#undef F
	NFUNCTIONS
};

static struct import import[NFUNCTIONS];

#define REAL(name) ((__typeof__(&name))import[NR_##name].real)

/* --- what cut a call short --- */

/* Of the thread, from its start on, for a child of vfork() uses it too. NULL in a child of fork. */
static _Thread_local _Atomic uint32_t *own_count;

uint32_t eintr_count(void)
{
	if (unlikely(!own_count))
		own_count = cuts_of((int)syscall(SYS_gettid));
	/* relaxed: the thread's own. */
	return own_count ? atomic_load_explicit(own_count, memory_order_relaxed) : 0;
}

/* Set back for the sake of the call outside, if this one is made by a handler that interrupted it. */
bool eintr_was_cut(uint32_t before)
{
	if (eintr_count() == before)
		return false;
	/* relaxed: the thread's own. */
	atomic_store_explicit(own_count, before, memory_order_relaxed);
	return true;
}

static bool is_to_go_on(uint32_t before)
{
	return errno == EINTR && eintr_was_cut(before);
}

/* The value of `call`, which is made again as long as stops make it fail. */
#define REPEATED(call) \
	({ \
		__typeof__(call) result_; \
		uint32_t before_; \
		do { \
			before_ = eintr_count(); \
			result_ = (call); \
		} while (result_ == -1 && is_to_go_on(before_)); \
		result_; \
	})

/* --- time --- */

static uint64_t ns_of(const struct timespec *t)
{
	uint64_t ns;

	if (__builtin_mul_overflow((uint64_t)t->tv_sec, NS_PER_S, &ns)
	    || __builtin_add_overflow(ns, (uint64_t)t->tv_nsec, &ns))
		return FOREVER;
	return ns;
}

/* When a wait of `ns` from here ends. */
static uint64_t end_after(uint64_t ns)
{
	uint64_t end;

	return __builtin_add_overflow(os_now_ns(), ns, &end) ? FOREVER : end;
}

static uint64_t left_until(uint64_t end)
{
	uint64_t now = os_now_ns();

	return end > now ? end - now : 0;
}

static struct timespec time_of(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S) };
}

uint64_t eintr_end(const struct timespec *longest)
{
	return longest ? end_after(ns_of(longest)) : FOREVER;
}

const struct timespec *eintr_left(uint64_t end_ns, struct timespec *left)
{
	*left = time_of(left_until(end_ns));
	return left;
}

static int ms_left_until(uint64_t end)
{
	uint64_t ms = (left_until(end) + NS_PER_MS - 1) / NS_PER_MS;

	return ms < INT_MAX ? (int)ms : INT_MAX;
}

/* --- waiting for descriptors --- */

/* `call` with `ms`, which is counted down. */
#define REPEATED_MS(ms, call) \
	({ \
		uint64_t end_ = ms > 0 ? end_after((uint64_t)ms * NS_PER_MS) : 0; \
		uint32_t before_ = eintr_count(); \
		__typeof__(call) result_; \
		while ((result_ = (call)) == -1 && is_to_go_on(before_)) { \
			if (ms > 0) \
				ms = ms_left_until(end_); \
		} \
		result_; \
	})

/* The same with the time `t`, which is NULL or not changed itself. */
#define REPEATED_TIME(t, call) \
	({ \
		struct timespec left_; \
		uint64_t end_ = eintr_end(t); \
		uint32_t before_ = eintr_count(); \
		__typeof__(call) result_; \
		while ((result_ = (call)) == -1 && is_to_go_on(before_)) { \
			if (t) \
				t = eintr_left(end_, &left_); \
		} \
		result_; \
	})

static int our_poll(struct pollfd *fds, nfds_t n, int ms)
{
	return REPEATED_MS(ms, REAL(poll)(fds, n, ms));
}

static int our___poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t nbytes)
{
	return REPEATED_MS(ms, REAL(__poll_chk)(fds, n, ms, nbytes));
}

static int our_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *t, const sigset_t *mask)
{
	sigset_t copy;

	mask = signals_without(mask, &copy);
	return REPEATED_TIME(t, REAL(ppoll)(fds, n, t, mask));
}

static int our___ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *t,
                           const sigset_t *mask, size_t nbytes)
{
	sigset_t copy;

	mask = signals_without(mask, &copy);
	return REPEATED_TIME(t, REAL(__ppoll_chk)(fds, n, t, mask, nbytes));
}

/* Linux leaves in `t` what was left. */
static int our_select(int n, fd_set *in, fd_set *out, fd_set *special, struct timeval *t)
{
	uint64_t end = t ? end_after(ns_of(&(struct timespec){ t->tv_sec, t->tv_usec * 1000 })) : 0;
	uint32_t before = eintr_count();
	int result;

	while ((result = REAL(select)(n, in, out, special, t)) == -1 && is_to_go_on(before)) {
		if (t) {
			struct timespec left = time_of(left_until(end) + 999);

			t->tv_sec = left.tv_sec;
			t->tv_usec = left.tv_nsec / 1000;
		}
	}
	return result;
}

static int our_pselect(int n, fd_set *in, fd_set *out, fd_set *special, const struct timespec *t,
                       const sigset_t *mask)
{
	sigset_t copy;

	mask = signals_without(mask, &copy);
	return REPEATED_TIME(t, REAL(pselect)(n, in, out, special, t, mask));
}

static int our_epoll_wait(int fd, struct epoll_event *events, int n, int ms)
{
	return REPEATED_MS(ms, REAL(epoll_wait)(fd, events, n, ms));
}

static int our_epoll_pwait(int fd, struct epoll_event *events, int n, int ms, const sigset_t *mask)
{
	sigset_t copy;

	mask = signals_without(mask, &copy);
	return REPEATED_MS(ms, REAL(epoll_pwait)(fd, events, n, ms, mask));
}

static int our_epoll_pwait2(int fd, struct epoll_event *events, int n, const struct timespec *t,
                            const sigset_t *mask)
{
	sigset_t copy;

	mask = signals_without(mask, &copy);
	return REPEATED_TIME(t, REAL(epoll_pwait2)(fd, events, n, t, mask));
}

/* --- sleeping --- */

/* By libc's clock_nanosleep(), which gives an error number and tells what is left. */
static int sleep_on(clockid_t clock, int flags, const struct timespec *t, struct timespec *left)
{
	struct timespec rest;
	int error;

	do {
		uint32_t before = eintr_count();

		error = REAL(clock_nanosleep)(clock, flags, t, &rest);
		if (error != EINTR || !eintr_was_cut(before))
			break;
		if (!(flags & TIMER_ABSTIME))
			t = &rest;
	} while (true);
	if (error == EINTR && left && !(flags & TIMER_ABSTIME))
		*left = rest;
	return error;
}

static int our_clock_nanosleep(clockid_t clock, int flags, const struct timespec *t,
                               struct timespec *left)
{
	return sleep_on(clock, flags, t, left);
}

static int our_nanosleep(const struct timespec *t, struct timespec *left)
{
	int error = sleep_on(CLOCK_REALTIME, 0, t, left);

	if (!error)
		return 0;
	errno = error;
	return -1;
}

static int our_usleep(useconds_t us)
{
	return our_nanosleep(&(struct timespec){ us / 1000000, us % 1000000 * 1000 }, NULL);
}

static unsigned our_sleep(unsigned seconds)
{
	struct timespec left = { .tv_sec = seconds };

	return our_nanosleep(&left, &left) ? (unsigned)left.tv_sec : 0;
}

static int our_thrd_sleep(const struct timespec *t, struct timespec *left)
{
	int error = sleep_on(CLOCK_REALTIME, 0, t, left);

	return error == EINTR ? -1 : error ? -2 : 0;
}

static int our_pause(void)
{
	return REPEATED(REAL(pause)());
}

/* --- semaphores, messages --- */

static int our_sem_timedwait(sem_t *sem, const struct timespec *end)
{
	return REPEATED(REAL(sem_timedwait)(sem, end));
}

static int our_sem_clockwait(sem_t *sem, clockid_t clock, const struct timespec *end)
{
	return REPEATED(REAL(sem_clockwait)(sem, clock, end));
}

static int our_semop(int id, struct sembuf *operations, size_t n)
{
	return REPEATED(REAL(semop)(id, operations, n));
}

static int our_semtimedop(int id, struct sembuf *operations, size_t n, const struct timespec *t)
{
	return REPEATED_TIME(t, REAL(semtimedop)(id, operations, n, t));
}

static ssize_t our_msgrcv(int id, void *to, size_t n, long type, int flags)
{
	return REPEATED(REAL(msgrcv)(id, to, n, type, flags));
}

static int our_msgsnd(int id, const void *from, size_t n, int flags)
{
	return REPEATED(REAL(msgsnd)(id, from, n, flags));
}

/* --- sockets --- */

/* A call on a descriptor. */
struct transfer {
	int fd;
	int option;                             /* SO_RCVTIMEO or SO_SNDTIMEO */
	uint32_t before;
	uint64_t start_ms;
};

static struct transfer begin(int fd, int option)
{
	return (struct transfer){ fd, option, eintr_count(), os_now_ms() };
}

/* Nanoseconds; 0: none, or no socket. */
static uint64_t timeout_of(const struct transfer *t)
{
	struct timeval time = { 0 };
	socklen_t len = sizeof time;
	int kept = errno;

	if (getsockopt(t->fd, SOL_SOCKET, t->option, &time, &len))
		time = (struct timeval){ 0 };
	errno = kept;
	return ns_of(&(struct timespec){ time.tv_sec, time.tv_usec * 1000 });
}

static uint64_t end_of(const struct transfer *t)
{
	return (t->start_ms + COARSE_MS) * NS_PER_MS + timeout_of(t);
}

/* The call has failed: is it to be made again? Where its time ran out, errno is `timed_out`. */
static bool is_to_be_repeated(const struct transfer *t, int timed_out)
{
	if (!is_to_go_on(t->before))
		return false;

	struct pollfd p = { .fd = t->fd, .events = t->option == SO_RCVTIMEO ? POLLIN : POLLOUT };

	if (!timeout_of(t))
		return true;

	int n = our_poll(&p, 1, ms_left_until(end_of(t)));

	if (n == 0)
		errno = timed_out;
	return n > 0;
}

#define TRANSFER(fd, option, timed_out, call) \
	({ \
		struct transfer t_ = begin(fd, option); \
		__typeof__(call) result_; \
		while ((result_ = (call)) == -1 && is_to_be_repeated(&t_, timed_out)) \
			; \
		result_; \
	})
#define RECEIVE(fd, call) TRANSFER(fd, SO_RCVTIMEO, EAGAIN, call)
#define SEND(fd, call) TRANSFER(fd, SO_SNDTIMEO, EAGAIN, call)

/* The same for all of `wanted` bytes: `call` is made for what is behind the first `done`. */
#define TRANSFER_ALL(fd, option, wanted, done, call) \
	({ \
		struct transfer t_ = begin(fd, option); \
		ssize_t result_; \
		do { \
			result_ = (call); \
			if (result_ > 0) \
				done += (size_t)result_; \
		} while (result_ == -1 ? is_to_be_repeated(&t_, EAGAIN) \
		                       : result_ > 0 && done < wanted && eintr_was_cut(t_.before)); \
		done ? (ssize_t)done : result_; \
	})

static ssize_t our_read(int fd, void *to, size_t n)
{
	return RECEIVE(fd, REAL(read)(fd, to, n));
}

static ssize_t our___read_chk(int fd, void *to, size_t n, size_t nbytes)
{
	return RECEIVE(fd, REAL(__read_chk)(fd, to, n, nbytes));
}

static ssize_t our_readv(int fd, const struct iovec *to, int n)
{
	return RECEIVE(fd, REAL(readv)(fd, to, n));
}

static ssize_t receive_all(int fd, char *to, size_t n, int flags, struct sockaddr *from,
                           socklen_t *len)
{
	size_t done = 0;

	return TRANSFER_ALL(fd, SO_RCVTIMEO, n, done,
	                    REAL(recvfrom)(fd, to + done, n - done, flags, from, len));
}

static bool wants_all(int flags)
{
	return (flags & (MSG_WAITALL | MSG_PEEK | MSG_TRUNC)) == MSG_WAITALL;
}

static ssize_t our_recv(int fd, void *to, size_t n, int flags)
{
	if (wants_all(flags))
		return receive_all(fd, to, n, flags, NULL, NULL);
	return RECEIVE(fd, REAL(recv)(fd, to, n, flags));
}

static ssize_t our___recv_chk(int fd, void *to, size_t n, size_t nbytes, int flags)
{
	if (wants_all(flags) && n <= nbytes)
		return receive_all(fd, to, n, flags, NULL, NULL);
	return RECEIVE(fd, REAL(__recv_chk)(fd, to, n, nbytes, flags));
}

static ssize_t our_recvfrom(int fd, void *to, size_t n, int flags, struct sockaddr *from,
                            socklen_t *len)
{
	if (wants_all(flags))
		return receive_all(fd, to, n, flags, from, len);
	return RECEIVE(fd, REAL(recvfrom)(fd, to, n, flags, from, len));
}

static ssize_t our___recvfrom_chk(int fd, void *to, size_t n, size_t nbytes, int flags,
                                  struct sockaddr *from, socklen_t *len)
{
	if (wants_all(flags) && n <= nbytes)
		return receive_all(fd, to, n, flags, from, len);
	return RECEIVE(fd, REAL(__recvfrom_chk)(fd, to, n, nbytes, flags, from, len));
}

static ssize_t our_recvmsg(int fd, struct msghdr *to, int flags)
{
	return RECEIVE(fd, REAL(recvmsg)(fd, to, flags));
}

static int our_recvmmsg(int fd, struct mmsghdr *to, unsigned n, int flags, struct timespec *t)
{
	return RECEIVE(fd, REAL(recvmmsg)(fd, to, n, flags, t));
}

static int our_accept(int fd, struct sockaddr *from, socklen_t *len)
{
	return RECEIVE(fd, REAL(accept)(fd, from, len));
}

static int our_accept4(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
	return RECEIVE(fd, REAL(accept4)(fd, from, len, flags));
}

/* The second call waits for the connection that the first one has begun, if poll() does not say first
 * that the time is over: of a local socket it says nothing. */
static int our_connect(int fd, const struct sockaddr *to, socklen_t len)
{
	struct transfer t = begin(fd, SO_SNDTIMEO);
	int timed_out = to && to->sa_family == AF_UNIX ? EAGAIN : EINPROGRESS;
	int result;

	while ((result = REAL(connect)(fd, to, len)) == -1 && is_to_be_repeated(&t, timed_out)) {
		if (timeout_of(&t) && !left_until(end_of(&t))) {
			errno = timed_out;
			break;
		}
	}
	return result;
}

static ssize_t our_write(int fd, const void *from, size_t n)
{
	size_t done = 0;

	return TRANSFER_ALL(fd, SO_SNDTIMEO, n, done,
	                    REAL(write)(fd, (const char *)from + done, n - done));
}

static ssize_t our_writev(int fd, const struct iovec *from, int n)
{
	return SEND(fd, REAL(writev)(fd, from, n));
}

static ssize_t our_sendto(int fd, const void *from, size_t n, int flags, const struct sockaddr *to,
                          socklen_t len)
{
	size_t done = 0;

	return TRANSFER_ALL(fd, SO_SNDTIMEO, n, done,
	                    REAL(sendto)(fd, (const char *)from + done, n - done, flags, to, len));
}

static ssize_t our_send(int fd, const void *from, size_t n, int flags)
{
	return our_sendto(fd, from, n, flags, NULL, 0);
}

static ssize_t our_sendmsg(int fd, const struct msghdr *from, int flags)
{
	return SEND(fd, REAL(sendmsg)(fd, from, flags));
}

static int our_sendmmsg(int fd, struct mmsghdr *from, unsigned n, int flags)
{
	return SEND(fd, REAL(sendmmsg)(fd, from, n, flags));
}

/* --- start --- */

static struct import import[NFUNCTIONS] = {
#define F(name) { #name, (void *)our_##name, NULL },
	FUNCTIONS(F)
#undef F
};

void eintr_start(void)
{
	eintr_count();
	imports_add(import, NFUNCTIONS);
}

void eintr_fork_child(void)
{
	own_count = NULL;
}
