/* eintr_sockets.c: eintr.c for sockets, pipes and their like; and what is written or read in many
 * pieces is whole though threads are stopped meanwhile.
 *   timeout: 240
 *   leaks: it sets the mode itself
 */
#include "tests/process/eintr.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>

#define BULK (1 << 20)

extern ssize_t __recv_chk(int fd, void *to, size_t n, size_t nbytes, int flags);

static const struct timespec longest = { .tv_nsec = MS * 1000000 };
static int silent[2];                           /* a pipe that nobody writes to */

/* --- sockets, pipes --- */

static void limit_time(int fd, int option)
{
	struct timeval t = { .tv_usec = MS * 1000 };

	CHECK(setsockopt(fd, SOL_SOCKET, option, &t, sizeof t) == 0);
}

/* `call` on one of two connected sockets. */
static int on_socket(int option, long (*call)(int fd))
{
	int fd[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) == 0);
	if (option)
		limit_time(fd[0], option);

	int error = error_of(call(fd[0]));

	close(fd[0]);
	close(fd[1]);
	return error;
}

static long call_recv(int fd)
{
	char byte;

	return recv(fd, &byte, 1, 0);
}

static long call_recv_chk(int fd)
{
	char byte;

	return __recv_chk(fd, &byte, 1, 1, 0);
}

static long call_recvfrom(int fd)
{
	char byte;

	return recvfrom(fd, &byte, 1, 0, NULL, NULL);
}

static long call_recvmsg(int fd)
{
	char byte;
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	return recvmsg(fd, &m, 0);
}

static long call_recvmmsg(int fd)
{
	char byte;
	struct iovec v = { &byte, 1 };
	struct mmsghdr m = { .msg_hdr = { .msg_iov = &v, .msg_iovlen = 1 } };

	return recvmmsg(fd, &m, 1, 0, NULL);
}

static long call_read(int fd)
{
	char byte;

	return read(fd, &byte, 1);
}

static long call_readv(int fd)
{
	char byte;
	struct iovec v = { &byte, 1 };

	return readv(fd, &v, 1);
}

static int do_recv(void) { return on_socket(SO_RCVTIMEO, call_recv); }
static int do_recv_chk(void) { return on_socket(SO_RCVTIMEO, call_recv_chk); }
static int do_recvfrom(void) { return on_socket(SO_RCVTIMEO, call_recvfrom); }
static int do_recvmsg(void) { return on_socket(SO_RCVTIMEO, call_recvmsg); }
static int do_recvmmsg(void) { return on_socket(SO_RCVTIMEO, call_recvmmsg); }
static int do_read_socket(void) { return on_socket(SO_RCVTIMEO, call_read); }
static int do_readv(void) { return on_socket(SO_RCVTIMEO, call_readv); }
static int do_recv_for_ever(void) { return on_socket(0, call_recv); }

/* Fills the socket, then waits for room. */
static long fill(int fd, long (*call)(int fd, const void *from, size_t n))
{
	static const char bytes[1000];
	long n;

	while ((n = call(fd, bytes, sizeof bytes)) > 0)
		;
	return n;
}

static long call_send(int fd, const void *from, size_t n)
{
	return send(fd, from, n, 0);
}

static long call_sendto(int fd, const void *from, size_t n)
{
	return sendto(fd, from, n, 0, NULL, 0);
}

static long call_write(int fd, const void *from, size_t n)
{
	return write(fd, from, n);
}

static long call_writev(int fd, const void *from, size_t n)
{
	struct iovec v = { (void *)(uintptr_t)from, n };

	return writev(fd, &v, 1);
}

static long call_sendmsg(int fd, const void *from, size_t n)
{
	struct iovec v = { (void *)(uintptr_t)from, n };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	return sendmsg(fd, &m, 0);
}

static long fill_send(int fd) { return fill(fd, call_send); }
static long fill_sendto(int fd) { return fill(fd, call_sendto); }
static long fill_write(int fd) { return fill(fd, call_write); }
static long fill_writev(int fd) { return fill(fd, call_writev); }
static long fill_sendmsg(int fd) { return fill(fd, call_sendmsg); }
static int do_send(void) { return on_socket(SO_SNDTIMEO, fill_send); }
static int do_sendto(void) { return on_socket(SO_SNDTIMEO, fill_sendto); }
static int do_write_socket(void) { return on_socket(SO_SNDTIMEO, fill_write); }
static int do_writev(void) { return on_socket(SO_SNDTIMEO, fill_writev); }
static int do_sendmsg(void) { return on_socket(SO_SNDTIMEO, fill_sendmsg); }

/* Nobody accepts: the second connection waits. */
static int with_listener(int (*wait)(int listener, const struct sockaddr_un *name, socklen_t len))
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(sa_family_t);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(bind(fd, (void *)&name, len) == 0);
	len = sizeof name;
	CHECK(getsockname(fd, (void *)&name, &len) == 0 && listen(fd, 0) == 0);

	int error = wait(fd, &name, len);

	close(fd);
	return error;
}

static int accept_from(int listener, const struct sockaddr_un *name, socklen_t len)
{
	(void)name, (void)len;
	limit_time(listener, SO_RCVTIMEO);
	return error_of(accept(listener, NULL, NULL));
}

static int accept4_from(int listener, const struct sockaddr_un *name, socklen_t len)
{
	(void)name, (void)len;
	limit_time(listener, SO_RCVTIMEO);
	return error_of(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
}

static int connect_to(int listener, const struct sockaddr_un *name, socklen_t len)
{
	int first = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int second = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)listener;
	limit_time(second, SO_SNDTIMEO);
	CHECK(connect(first, (const void *)name, len) == 0);

	int error = error_of(connect(second, (const void *)name, len));

	close(first);
	close(second);
	return error;
}

static int do_accept(void) { return with_listener(accept_from); }
static int do_accept4(void) { return with_listener(accept4_from); }
static int do_connect(void) { return with_listener(connect_to); }

static int do_read_pipe(void)
{
	char byte;

	return error_of(read(silent[0], &byte, 1));
}

static int do_eventfd(void)
{
	uint64_t n;
	int fd = eventfd(0, EFD_CLOEXEC), error = error_of(read(fd, &n, sizeof n));

	close(fd);
	return error;
}

static int do_timerfd(void)
{
	struct itimerspec t = { .it_value = longest };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	uint64_t n;

	timerfd_settime(fd, 0, &t, NULL);

	int error = error_of(read(fd, &n, sizeof n));

	close(fd);
	return error;
}

/* --- much at once: the other end is slow --- */

static void *take_slowly(void *arg)
{
	static _Thread_local char room[BULK / 30];
	int fd = (int)(intptr_t)arg;

	while (read(fd, room, sizeof room) > 0)
		sleep_ms(10);
	close(fd);
	return NULL;
}

static void *give_slowly(void *arg)
{
	static const char bytes[BULK / 32];
	int fd = (int)(intptr_t)arg;

	for (int i = 0; i < 32; i++) {
		if (send(fd, bytes, sizeof bytes, MSG_NOSIGNAL) < 0)
			break;                          /* it has given up */
		sleep_ms(10);
	}
	return NULL;
}

static int whole(int fd, int other, void *(*partner)(void *), ssize_t (*call)(int fd, void *p))
{
	void *p = calloc(1, BULK);
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, partner, (void *)(intptr_t)other) == 0);

	ssize_t n = call(fd, p);

	close(fd);
	pthread_join(thread, NULL);
	free(p);
	return n == -1 ? errno : n == BULK ? 0 : EINTR;
}

static ssize_t write_bulk(int fd, void *p)
{
	return write(fd, p, BULK);
}

static ssize_t send_bulk(int fd, void *p)
{
	return send(fd, p, BULK, 0);
}

static ssize_t receive_bulk(int fd, void *p)
{
	return recv(fd, p, BULK, MSG_WAITALL);
}

static int do_write_all(void)
{
	int fd[2];

	CHECK(pipe2(fd, O_CLOEXEC) == 0);
	return whole(fd[1], fd[0], take_slowly, write_bulk);
}

static int do_send_all(void)
{
	int fd[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) == 0);
	return whole(fd[1], fd[0], take_slowly, send_bulk);
}

static int do_recv_all(void)
{
	int fd[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) == 0);

	int error = whole(fd[1], fd[0], give_slowly, receive_bulk);

	close(fd[0]);
	return error;
}

static const struct row rows[] = {
	{ "recv", do_recv, TIMED, EAGAIN },
	{ "__recv_chk", do_recv_chk, TIMED, EAGAIN },
	{ "recvfrom", do_recvfrom, TIMED, EAGAIN },
	{ "recvmsg", do_recvmsg, TIMED, EAGAIN },
	{ "recvmmsg", do_recvmmsg, TIMED, EAGAIN },
	{ "read, socket", do_read_socket, TIMED, EAGAIN },
	{ "readv", do_readv, TIMED, EAGAIN },
	{ "recv, for ever", do_recv_for_ever, ENDLESS, 0 },
	{ "send", do_send, TIMED, EAGAIN },
	{ "sendto", do_sendto, TIMED, EAGAIN },
	{ "write, socket", do_write_socket, TIMED, EAGAIN },
	{ "writev", do_writev, TIMED, EAGAIN },
	{ "sendmsg", do_sendmsg, TIMED, EAGAIN },
	{ "accept", do_accept, TIMED, EAGAIN },
	{ "accept4", do_accept4, TIMED, EAGAIN },
	{ "connect", do_connect, TIMED, EAGAIN },
	{ "read, pipe", do_read_pipe, ENDLESS, 0 },
	{ "read, eventfd", do_eventfd, ENDLESS, 0 },
	{ "read, timerfd", do_timerfd, TIMED, 0 },
	{ "write, all", do_write_all, STEADY, 0 },
	{ "send, all", do_send_all, STEADY, 0 },
	{ "recv, all", do_recv_all, STEADY, 0 },
};

static void prepare(void)
{
	CHECK(pipe2(silent, O_CLOEXEC) == 0);
}

static void tidy_up(void)
{
	close(silent[0]);
	close(silent[1]);
}

int main(int argc, char **argv)
{
	(void)argv;
	return eintr_main(argc, rows, COUNT(rows), prepare, tidy_up);
}
