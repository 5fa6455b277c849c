/* eintr_sockets.c: calls on descriptors that a stop cut short go on, so that the program does not notice.
 *
 *     calls on a socket with SO_RCVTIMEO or       as they were, after waiting with what is left
 *     SO_SNDTIMEO
 *     write, send, sendto, recv with MSG_WAITALL  also for the rest, where a part was done
 * What is said in the head of eintr.c holds here. writev and sendmsg may have written a part.
 */
#include "preload/eintr.h"
#include "preload/imports.h"

#include "core/os.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define COARSE_MS 10                            /* a step of the coarse clock is not longer */

/* What programs compiled with _FORTIFY_SOURCE call. */
extern ssize_t __read_chk(int fd, void *to, size_t n, size_t nbytes);
extern ssize_t __recv_chk(int fd, void *to, size_t n, size_t nbytes, int flags);
extern ssize_t __recvfrom_chk(int fd, void *to, size_t n, size_t nbytes, int flags,
                              struct sockaddr *from, socklen_t *len);

#define FUNCTIONS(F) \
	F(read) F(__read_chk) F(readv) F(recv) F(__recv_chk) F(recvfrom) F(__recvfrom_chk) F(recvmsg) \
	F(recvmmsg) F(accept) F(accept4) F(connect) F(write) F(writev) F(send) F(sendto) F(sendmsg) \
	F(sendmmsg)

enum { FUNCTIONS(IMPORT_NUMBER) NFUNCTIONS };

static struct import import[NFUNCTIONS];

#define REAL(name) IMPORT_REAL(import, name)

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
	return eintr_ns(&(struct timespec){ time.tv_sec, time.tv_usec * 1000 });
}

static uint64_t end_of(const struct transfer *t)
{
	return (t->start_ms + COARSE_MS) * EINTR_NS_PER_MS + timeout_of(t);
}

/* The call has failed: is it to be made again? Where its time ran out, errno is `timed_out`. */
static bool is_to_be_repeated(const struct transfer *t, int timed_out)
{
	if (!eintr_goes_on(t->before))
		return false;

	struct pollfd p = { .fd = t->fd, .events = t->option == SO_RCVTIMEO ? POLLIN : POLLOUT };

	if (!timeout_of(t))
		return true;

	int n = eintr_poll(&p, 1, eintr_left_ms(end_of(t)));

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
		if (timeout_of(&t) && !eintr_left_ns(end_of(&t))) {
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

static struct import import[NFUNCTIONS] = { FUNCTIONS(IMPORT_ROW) };

void eintr_sockets_start(void)
{
	imports_add(import, NFUNCTIONS);
}
