/* eintr.c: waits that a stop cut short go on, so that the program does not notice.
 *
 *     poll, select, epoll_wait and their kin      with what is left of the time; and the stop signal
 *                                                 is taken out of the mask that they wait with
 *     nanosleep, sleep and their kin              with what is left
 *     sem_timedwait, sem_clockwait, semop,        as they were: their time is absolute, or none
 *     semtimedop, msgsnd, msgrcv, pause
 * Calls on sockets are in eintr_sockets.c; sigsuspend, sigwaitinfo and sigtimedwait are in signals.c.
 * Everything else is restarted by the kernel. What cut a call short says scan/cuts.h: a signal of the
 * program's shows as ever.
 *
 * In modes that stop threads these functions stand in for libc's through imports.h; in mode malloc
 * nobody gets here. A call goes through libc's function, so that it stays a place where a thread can
 * be cancelled.
 *
 * Not reached: calls inside libc (a resolver's poll(), stdio on a socket with a timeout), or by an
 * address from dlsym(). Those by syscall() are rawcalls.c's.
 */
#include "preload/eintr.h"
#include "preload/imports.h"
#include "preload/preload.h"

#include "core/os.h"
#include "scan/cuts.h"

#include <errno.h>
#include <limits.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <threads.h>
#include <unistd.h>

#define NS_PER_S UINT64_C(1000000000)

/* What programs compiled with _FORTIFY_SOURCE call. */
extern int __poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t nbytes);
extern int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *t, const sigset_t *mask,
                       size_t nbytes);

#define FUNCTIONS(F) \
	F(poll) F(__poll_chk) F(ppoll) F(__ppoll_chk) F(select) F(pselect) F(epoll_wait) \
	F(epoll_pwait) F(epoll_pwait2) F(nanosleep) F(clock_nanosleep) F(usleep) F(sleep) \
	F(thrd_sleep) F(sem_timedwait) F(sem_clockwait) F(semop) F(semtimedop) F(msgrcv) F(msgsnd) \
	F(pause)

enum { FUNCTIONS(IMPORT_NUMBER) NFUNCTIONS };

static struct import import[NFUNCTIONS];

#define REAL(name) IMPORT_REAL(import, name)

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

bool eintr_goes_on(uint32_t before)
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
		} while (result_ == -1 && eintr_goes_on(before_)); \
		result_; \
	})

/* --- time --- */

uint64_t eintr_ns(const struct timespec *t)
{
	uint64_t ns;

	if (__builtin_mul_overflow((uint64_t)t->tv_sec, NS_PER_S, &ns)
	    || __builtin_add_overflow(ns, (uint64_t)t->tv_nsec, &ns))
		return EINTR_NEVER;
	return ns;
}

static uint64_t end_after(uint64_t began_ns, uint64_t ns)
{
	uint64_t end;

	return __builtin_add_overflow(began_ns, ns, &end) ? EINTR_NEVER : end;
}

uint64_t eintr_left_ns(uint64_t end)
{
	uint64_t now = os_now_ns();

	return end > now ? end - now : 0;
}

static struct timespec time_of(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S) };
}

uint64_t eintr_end(uint64_t began_ns, const struct timespec *longest)
{
	return longest ? end_after(began_ns, eintr_ns(longest)) : EINTR_NEVER;
}

const struct timespec *eintr_left(uint64_t end_ns, struct timespec *left)
{
	*left = time_of(eintr_left_ns(end_ns));
	return left;
}

int eintr_left_ms(uint64_t end)
{
	uint64_t ms = (eintr_left_ns(end) + EINTR_NS_PER_MS - 1) / EINTR_NS_PER_MS;

	return ms < INT_MAX ? (int)ms : INT_MAX;
}

/* --- waiting for descriptors --- */

/* `call` with `ms`, which is counted down. */
#define REPEATED_MS(ms, call) \
	({ \
		uint64_t end_ = ms > 0 ? end_after(os_now_ns(), (uint64_t)ms * EINTR_NS_PER_MS) : 0; \
		uint32_t before_ = eintr_count(); \
		__typeof__(call) result_; \
		while ((result_ = (call)) == -1 && eintr_goes_on(before_)) { \
			if (ms > 0) \
				ms = eintr_left_ms(end_); \
		} \
		result_; \
	})

/* The same with the time `t`, which is NULL or not changed itself. */
#define REPEATED_TIME(t, call) \
	({ \
		const struct timespec *longest_ = t; \
		struct timespec left_; \
		uint64_t began_ns_ = os_now_ns(); \
		uint32_t before_ = eintr_count(); \
		__typeof__(call) result_; \
		while ((result_ = (call)) == -1 && eintr_goes_on(before_)) { \
			if (longest_) \
				t = eintr_left(eintr_end(began_ns_, longest_), &left_); \
		} \
		result_; \
	})

int eintr_poll(struct pollfd *fds, nfds_t n, int ms)
{
	return REPEATED_MS(ms, REAL(poll)(fds, n, ms));
}

static int our_poll(struct pollfd *fds, nfds_t n, int ms)
{
	return eintr_poll(fds, n, ms);
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
	uint64_t ns = t ? eintr_ns(&(struct timespec){ t->tv_sec, t->tv_usec * 1000 }) : 0;
	uint64_t end = end_after(os_now_ns(), ns);
	uint32_t before = eintr_count();
	int result;

	while ((result = REAL(select)(n, in, out, special, t)) == -1 && eintr_goes_on(before)) {
		if (t) {
			struct timespec left = time_of(eintr_left_ns(end) + 999);

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

/* --- start --- */

static struct import import[NFUNCTIONS] = { FUNCTIONS(IMPORT_ROW) };

void eintr_start(void)
{
	eintr_count();
	imports_add(import, NFUNCTIONS);
	eintr_sockets_start();
}

void eintr_fork_child(void)
{
	own_count = NULL;
}
