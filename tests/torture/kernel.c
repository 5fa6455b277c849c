/* kernel.c: the kernel writes into blocks while the collector watches writes: every byte arrives, no
 * call fails, and objects are not lost that only these bytes lead to.
 *
 * also: SPANGC_VERIFY=1 | SPANGC_GC_FREE=ignore | SPANGC_STACKS=all
 */
#include "tests/torture/cell.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

struct pair {
	int in, out;
};

static struct pair pipe_with(const struct ref *r)
{
	struct pair p;
	int fd[2];

	CHECK(pipe(fd) == 0);
	p = (struct pair){ fd[0], fd[1] };
	CHECK(write(p.out, r, sizeof *r) == sizeof *r);
	return p;
}

static struct pair socket_with(int type, const struct ref *r)
{
	struct pair p;
	int fd[2];

	CHECK(socketpair(AF_UNIX, type, 0, fd) == 0);
	p = (struct pair){ fd[0], fd[1] };
	CHECK(send(p.out, r, sizeof *r, 0) == sizeof *r);
	return p;
}

static bool done(struct pair p)
{
	close(p.in);
	close(p.out);
	return true;
}

#define CALL(call) CHECKF((call) == sizeof(struct ref), "%s: %s", #call, strerror(errno))

static bool by_read(const struct ref *r, void *p, size_t nbytes)
{
	struct pair f = pipe_with(r);

	CALL(read(f.in, p, nbytes));
	return done(f);
}

/* The list of pieces is in a block, too. */
static struct iovec *two_pieces(void *p, size_t first)
{
	struct iovec *piece = malloc(2 * sizeof *piece);

	CHECK(piece);
	piece[0] = (struct iovec){ p, first };
	piece[1] = (struct iovec){ (char *)p + first, sizeof(struct ref) - first };
	return piece;
}

static bool by_readv(const struct ref *r, void *p, size_t nbytes)
{
	struct pair f = pipe_with(r);
	struct iovec *piece = two_pieces(p, 5);

	(void)nbytes;
	CALL(readv(f.in, piece, 2));
	free(piece);
	return done(f);
}

static bool by_recv(const struct ref *r, void *p, size_t nbytes)
{
	struct pair f = socket_with(SOCK_STREAM, r);

	CALL(recv(f.in, p, nbytes, 0));
	return done(f);
}

static bool by_recv_datagram(const struct ref *r, void *p, size_t nbytes)
{
	struct pair f = socket_with(SOCK_DGRAM, r);

	CALL(recv(f.in, p, nbytes, MSG_DONTWAIT));
	return done(f);
}

static bool by_recvfrom(const struct ref *r, void *p, size_t nbytes)
{
	struct pair f = socket_with(SOCK_DGRAM, r);
	struct sockaddr_storage *from = malloc(sizeof *from);
	socklen_t *len = malloc(sizeof *len);

	*len = sizeof *from;
	CALL(recvfrom(f.in, p, nbytes, 0, (struct sockaddr *)from, len));
	CHECKF(*len <= sizeof(struct sockaddr), "%u", *len);
	free(from);
	free(len);
	return done(f);
}

/* Header, pieces and room for control messages: all are blocks. A descriptor comes along. */
static bool by_recvmsg(const struct ref *r, void *p, size_t nbytes)
{
	struct pair f = socket_with(SOCK_STREAM, r);
	struct msghdr *m = calloc(1, sizeof *m);

	(void)nbytes;
	m->msg_iov = two_pieces(p, 8);
	m->msg_iovlen = 2;
	m->msg_controllen = CMSG_SPACE(sizeof(int));
	m->msg_control = malloc(m->msg_controllen);
	CALL(recvmsg(f.in, m, 0));
	CHECK(m->msg_controllen == 0 && m->msg_flags == 0);

	struct { struct cmsghdr head; int fd; } sent = {
		{ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS }, f.in };
	struct msghdr message = { .msg_iov = m->msg_iov, .msg_iovlen = 1, .msg_control = &sent,
		.msg_controllen = sizeof sent };
	char saved[sizeof *r];

	memcpy(saved, p, sizeof saved);
	CHECK(sendmsg(f.out, &message, 0) == 8);
	m->msg_controllen = CMSG_SPACE(sizeof(int));
	CHECK(recvmsg(f.in, m, 0) == 8);
	CHECK(m->msg_controllen >= CMSG_LEN(sizeof(int)) && memcmp(saved, p, sizeof saved) == 0);
	close(*(int *)CMSG_DATA(CMSG_FIRSTHDR(m)));
	free(m->msg_control);
	free(m->msg_iov);
	free(m);
	return done(f);
}

static bool by_recvmmsg(const struct ref *r, void *p, size_t nbytes)
{
	struct pair f = socket_with(SOCK_DGRAM, r);
	struct mmsghdr *m = calloc(2, sizeof *m);
	char *other = malloc(nbytes);
	struct iovec *piece = malloc(sizeof *piece);

	CHECK(send(f.out, "four", 4, 0) == 4);
	*piece = (struct iovec){ other, nbytes };
	m[0].msg_hdr.msg_iov = two_pieces(p, 1);
	m[0].msg_hdr.msg_iovlen = 2;
	m[1].msg_hdr.msg_iov = piece;
	m[1].msg_hdr.msg_iovlen = 1;
	CHECK(recvmmsg(f.in, m, 2, 0, NULL) == 2);
	CHECK(m[0].msg_len == sizeof *r && m[1].msg_len == 4 && memcmp(other, "four", 4) == 0);
	free(m[0].msg_hdr.msg_iov);
	free(m);
	free(piece);
	free(other);
	return done(f);
}

/* libc's own buffer, a block, and what is read past it. */
static bool by_fread(const struct ref *r, void *p, size_t nbytes)
{
	struct pair f = pipe_with(r);
	FILE *in = fdopen(f.in, "r");

	(void)nbytes;
	CHECK(write(f.out, "end", 3) == 3);
	close(f.out);
	CHECK(in && fread(p, sizeof *r, 1, in) == 1);
	CHECK(getc(in) == 'e' && getc(in) == 'n' && getc(in) == 'd' && getc(in) == EOF && !ferror(in));
	fclose(in);
	return true;
}

#define FILE_BYTES 30000

/* A long file, by a FILE with a small buffer of ours: whole, and no error. */
static bool file_by_fread(const struct ref *r, void *p, size_t nbytes)
{
	FILE *in = fopen("/proc/self/exe", "r"), *again = fopen("/proc/self/exe", "r");
	char *buffer = malloc(4096), *text = malloc(FILE_BYTES), *same = malloc(FILE_BYTES);

	(void)r, (void)p, (void)nbytes;
	CHECK(in && again && buffer && text && same);
	CHECK(setvbuf(in, buffer, _IOFBF, 4096) == 0);
	for (size_t at = 0; at < FILE_BYTES; at += 1000)
		CHECKF(fread(text + at, 1000, 1, in) == 1, "at %zu: %s", at, strerror(errno));
	CHECK(fread(same, FILE_BYTES, 1, again) == 1);
	CHECK(memcmp(text, same, FILE_BYTES) == 0);
	fclose(in);
	fclose(again);
	free(buffer);
	free(text);
	free(same);
	return false;
}

/* libc allocates the line and reads into a block; a byte that is not in the reference ends it. */
static bool by_getline(const struct ref *r, void *p, size_t nbytes)
{
	struct pair f = pipe_with(r);
	FILE *in = fdopen(f.in, "r");
	char *line = NULL;
	size_t room = 0;
	unsigned char end = 1;

	(void)nbytes;
	while (memchr(r, end, sizeof *r))
		end++;
	CHECK(write(f.out, &end, 1) == 1);
	CHECK(in && getdelim(&line, &room, end, in) == sizeof *r + 1);
	memcpy(p, line, sizeof *r);
	free(line);
	fclose(in);
	close(f.out);
	return true;
}

static bool lines_by_getline(const struct ref *r, void *p, size_t nbytes)
{
	FILE *in = fopen("/proc/self/maps", "r");
	char *line = NULL;
	size_t room = 0;
	ssize_t len;

	(void)r, (void)p, (void)nbytes;
	CHECK(in);
	while ((len = getline(&line, &room, in)) > 0)
		CHECKF(line[len - 1] == '\n' && strchr(line, '-'), "%s", line);
	CHECK(feof(in) && !ferror(in));
	free(line);
	fclose(in);
	return false;
}

/* libc's buffer of a directory, and ours. */
static bool by_getdents(const struct ref *r, void *p, size_t nbytes)
{
	DIR *d = opendir("/proc/self");
	struct dirent *entry;
	unsigned n = 0, n_raw = 0;
	int fd = open("/proc/self", O_RDONLY | O_DIRECTORY);
	long len;

	(void)r;
	CHECK(d && fd >= 0);
	while ((entry = readdir(d)))
		n++;
	closedir(d);
	while ((len = syscall(SYS_getdents64, fd, p, nbytes)) > 0) {
		for (long at = 0; at < len; at += ((struct dirent64 *)((char *)p + at))->d_reclen)
			n_raw++;
	}
	CHECKF(len == 0, "%s", strerror(errno));
	CHECKF(n == n_raw && n > 20, "%u %u", n, n_raw);
	close(fd);
	return false;
}

static bool by_stat(const struct ref *r, void *p, size_t nbytes)
{
	struct stat *s = p, local;

	(void)r, (void)nbytes;
	CHECK(stat("/proc/self/exe", s) == 0 && stat("/proc/self/exe", &local) == 0);
	CHECK(s->st_ino == local.st_ino && s->st_size == local.st_size && s->st_size > 0);
	return false;
}

static bool by_poll(const struct ref *r, void *p, size_t nbytes)
{
	struct pair f = pipe_with(r);
	struct pollfd *poll_set = p;

	(void)nbytes;
	poll_set[0] = (struct pollfd){ .fd = f.in, .events = POLLIN };
	poll_set[1] = (struct pollfd){ .fd = f.out, .events = POLLIN };
	CHECK(poll(poll_set, 2, 1000) == 1);
	CHECK(poll_set[0].revents == POLLIN && poll_set[1].revents == 0);
	done(f);
	return false;
}

/* The kernel holds the reference's word for us, and gives it back. */
static bool by_epoll(const struct ref *r, void *p, size_t nbytes)
{
	struct pair f = pipe_with(r);
	int fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = r->word };
	struct epoll_event *got = malloc(4 * sizeof *got);

	(void)nbytes;
	CHECK(fd >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, f.in, &event) == 0);
	CHECK(epoll_wait(fd, got, 4, 1000) == 1);
	CHECK(got->data.u64 == r->word && got->events == EPOLLIN);
	memcpy(p, &got->data.u64, 8);
	((struct ref *)p)->serial = r->serial;
	free(got);
	close(fd);
	return done(f);
}

static bool by_getcwd(const struct ref *r, void *p, size_t nbytes)
{
	char local[4096], *own = getcwd(NULL, 0);

	(void)r;
	CHECK(own && getcwd(p, nbytes) == p && getcwd(local, sizeof local));
	CHECK(strcmp(p, local) == 0 && strcmp(own, local) == 0);
	free(own);
	return false;
}

static bool by_ioctl(const struct ref *r, void *p, size_t nbytes)
{
	struct pair f = pipe_with(r);

	(void)nbytes;
	CHECK(ioctl(f.in, FIONREAD, p) == 0);
	CHECK(*(int *)p == sizeof *r);
	done(f);
	return false;
}

static bool by_raw_syscall(const struct ref *r, void *p, size_t nbytes)
{
	struct pair f = pipe_with(r);

	CALL(syscall(SYS_read, f.in, p, nbytes));
	return done(f);
}

/* No library between: what Go's programs do. */
static bool by_instruction(const struct ref *r, void *p, size_t nbytes)
{
#ifdef __x86_64__
	struct pair f = pipe_with(r);
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "0"(SYS_read), "D"(f.in), "S"(p), "d"(nbytes)
	                 : "rcx", "r11", "memory");
	CHECKF(result == sizeof *r, "%ld", result);
	return done(f);
#else
	return by_raw_syscall(r, p, nbytes);
#endif
}

/* --- io_uring, by hand --- */

struct uring {
	int fd;
	char *rings;
	struct io_uring_sqe *sqe;
	struct io_uring_params params;
};

static bool uring_open(struct uring *u)
{
	size_t nbytes;

	memset(&u->params, 0, sizeof u->params);
	u->fd = (int)syscall(SYS_io_uring_setup, 4, &u->params);
	if (u->fd < 0)
		return false;
	nbytes = u->params.cq_off.cqes + u->params.cq_entries * sizeof(struct io_uring_cqe);
	u->rings = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_SHARED, u->fd, IORING_OFF_SQ_RING);
	u->sqe = mmap(NULL, 4 * sizeof *u->sqe, PROT_READ | PROT_WRITE, MAP_SHARED, u->fd,
	              IORING_OFF_SQES);
	CHECK(u->rings != MAP_FAILED && u->sqe != MAP_FAILED);
	return true;
}

static void uring_close(struct uring *u)
{
	munmap(u->rings, u->params.cq_off.cqes +
	       u->params.cq_entries * sizeof(struct io_uring_cqe));
	munmap(u->sqe, 4 * sizeof *u->sqe);
	close(u->fd);
}

/* One read; what became of it. */
static int uring_read(struct uring *u, int fd, void *p, size_t nbytes)
{
	_Atomic uint32_t *tail = (_Atomic uint32_t *)(u->rings + u->params.sq_off.tail);
	_Atomic uint32_t *head = (_Atomic uint32_t *)(u->rings + u->params.cq_off.head);
	uint32_t *array = (uint32_t *)(u->rings + u->params.sq_off.array);
	struct io_uring_cqe *cqe = (struct io_uring_cqe *)(u->rings + u->params.cq_off.cqes);
	int result;

	u->sqe[0] = (struct io_uring_sqe){ .opcode = IORING_OP_READ, .fd = fd,
		.addr = (uintptr_t)p, .len = (uint32_t)nbytes, .off = (uint64_t)-1 };
	array[*tail & 3] = 0;
	atomic_fetch_add(tail, 1);
	CHECK(syscall(SYS_io_uring_enter, u->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1);
	result = cqe[*head & (u->params.cq_entries - 1)].res;
	atomic_fetch_add(head, 1);
	return result;
}

static bool by_io_uring(const struct ref *r, void *p, size_t nbytes)
{
	struct uring u;
	struct pair f;
	int result;

	if (!uring_open(&u))
		return false;
	f = pipe_with(r);
	result = uring_read(&u, f.in, p, nbytes);
	CHECKF(result == sizeof *r, "%d", result);
	uring_close(&u);
	return done(f);
}

static const struct row rows[] = {
	{ "read", by_read },
	{ "readv", by_readv },
	{ "recv", by_recv },
	{ "recv of a datagram", by_recv_datagram },
	{ "recvfrom", by_recvfrom },
	{ "recvmsg", by_recvmsg },
	{ "recvmmsg", by_recvmmsg },
	{ "fread", by_fread },
	{ "fread of a file", file_by_fread },
	{ "getdelim", by_getline },
	{ "getline", lines_by_getline },
	{ "getdents", by_getdents },
	{ "stat", by_stat },
	{ "poll", by_poll },
	{ "epoll_wait", by_epoll },
	{ "getcwd", by_getcwd },
	{ "ioctl", by_ioctl },
	{ "syscall", by_raw_syscall },
	{ "the instruction", by_instruction },
	{ "io_uring", by_io_uring },
};

int main(void)
{
	return cell_main(rows, COUNT(rows));
}
