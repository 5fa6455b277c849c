/* blocked.c: threads wait in the kernel for a reference while collections begin and end, and the call
 * they are in ends as if nothing had happened: it is neither interrupted nor lost.
 *
 * also: SPANGC_VERIFY=1 | SPANGC_GC_FREE=ignore
 */
#include "tests/torture/torture.h"
#include "tests/torture/objects.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* Receives one reference from fd into a block at p; fd is a stream's end. False: it has ended. */
struct way {
	const char *name;
	ssize_t (*receive)(int fd, struct ref *p);
};

static ssize_t by_read(int fd, struct ref *p)
{
	return read(fd, p, sizeof *p);
}

static ssize_t by_readv(int fd, struct ref *p)
{
	struct iovec *piece = malloc(2 * sizeof *piece);
	ssize_t n;

	piece[0] = (struct iovec){ p, 8 };
	piece[1] = (struct iovec){ (char *)p + 8, 8 };
	n = readv(fd, piece, 2);
	free(piece);
	return n;
}

static ssize_t by_recv(int fd, struct ref *p)
{
	return recv(fd, p, sizeof *p, 0);
}

static ssize_t by_recvmsg(int fd, struct ref *p)
{
	struct msghdr *m = calloc(1, sizeof *m);
	ssize_t n;

	m->msg_iov = malloc(sizeof *m->msg_iov);
	*m->msg_iov = (struct iovec){ p, sizeof *p };
	m->msg_iovlen = 1;
	n = recvmsg(fd, m, MSG_WAITALL);
	free(m->msg_iov);
	free(m);
	return n;
}

static ssize_t by_recvmmsg(int fd, struct ref *p)
{
	struct mmsghdr *m = calloc(1, sizeof *m);
	ssize_t n;

	m->msg_hdr.msg_iov = malloc(sizeof *m->msg_hdr.msg_iov);
	*m->msg_hdr.msg_iov = (struct iovec){ p, sizeof *p };
	m->msg_hdr.msg_iovlen = 1;
	n = recvmmsg(fd, m, 1, 0, NULL);
	n = n == 1 ? (ssize_t)m->msg_len : n;
	free(m->msg_hdr.msg_iov);
	free(m);
	return n;
}

static ssize_t by_poll(int fd, struct ref *p)
{
	struct pollfd *set = malloc(sizeof *set);
	int n;

	*set = (struct pollfd){ .fd = fd, .events = POLLIN };
	n = poll(set, 1, -1);
	CHECKF(n == 1 && set->revents, "poll: %d, %s", n, strerror(errno));
	free(set);
	return read(fd, p, sizeof *p);
}

static ssize_t by_select(int fd, struct ref *p)
{
	fd_set *set = malloc(sizeof *set);
	int n;

	FD_ZERO(set);
	FD_SET(fd, set);
	n = select(fd + 1, set, NULL, NULL, NULL);
	CHECKF(n == 1 && FD_ISSET(fd, set), "select: %d, %s", n, strerror(errno));
	free(set);
	return read(fd, p, sizeof *p);
}

static ssize_t by_epoll(int fd, struct ref *p)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), n;
	struct epoll_event *e = calloc(1, sizeof *e);

	e->events = EPOLLIN;
	CHECK(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, e) == 0);
	e->data.u64 = 5;
	n = epoll_wait(epoll, e, 1, -1);
	CHECKF(n == 1 && e->data.u64 == 0, "epoll_wait: %d, %s", n, strerror(errno));
	close(epoll);
	free(e);
	return read(fd, p, sizeof *p);
}

/* One FILE a call: what it has read ahead would be lost. One reference is sent at a time. */
static ssize_t by_fread(int fd, struct ref *p)
{
	FILE *in = fdopen(dup(fd), "r");
	ssize_t n;

	CHECK(in && setvbuf(in, NULL, _IOFBF, 64) == 0);
	n = fread(p, sizeof *p, 1, in) == 1 ? (ssize_t)sizeof *p : feof(in) ? 0 : -1;
	fclose(in);
	return n;
}

static const struct way ways[] = {
	{ "read", by_read },
	{ "readv", by_readv },
	{ "recv", by_recv },
	{ "recvmsg", by_recvmsg },
	{ "recvmmsg", by_recvmmsg },
	{ "poll", by_poll },
	{ "select", by_select },
	{ "epoll_wait", by_epoll },
	{ "fread", by_fread },
};

struct receiver {
	const struct way *way;
	int fd[2];
	pthread_t thread;
	_Atomic unsigned nsent, nreceived;
	struct ref sent;
};

static void *receive(void *arg)
{
	struct receiver *w = arg;
	ssize_t n;

	for (;;) {
		struct ref *p = calloc(1, sizeof *p);

		n = w->way->receive(w->fd[0], p);
		if (n == 0) {
			free(p);
			return NULL;
		}
		CHECKF(n == sizeof *p, "%s: %zd, %s", w->way->name, n, strerror(errno));
		w->nreceived++;                 /* the sender forgets it now */
		while (w->nsent == w->nreceived && w->sent.word)
			sched_yield();
		torture_count(object_walk(*p, true));
		free(p);
	}
}

/* The next reference, once the receiver has had time to block and a window to open. */
static void send_to(struct receiver *w, uint64_t serial)
{
	w->sent = object_make(serial);
	w->nsent++;
	CHECK(send(w->fd[1], &w->sent, sizeof w->sent, 0) == sizeof w->sent);
	while (w->nsent != w->nreceived)
		sched_yield();
	*(volatile uintptr_t *)&w->sent.word = 0;
}

int main(void)
{
	static struct receiver receivers[COUNT(ways)];
	uint64_t serial = 1, rng;

	torture_begin();
	rng = torture.seed;
	for (size_t i = 0; i < COUNT(ways); i++) {
		receivers[i].way = &ways[i];
		CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, receivers[i].fd) == 0);
		receivers[i].thread = start_thread(receive, &receivers[i]);
	}
	while (torture_goes_on()) {
		let_collections_pass(next_random(&rng) % 3);
		for (size_t i = 0; i < COUNT(ways); i++)
			send_to(&receivers[i], serial++);
		make_garbage(&rng);
	}
	for (size_t i = 0; i < COUNT(ways); i++) {
		close(receivers[i].fd[1]);
		join_thread(receivers[i].thread);
	}
	return torture_end();
}
