/* dirty_calls.c: system calls that write to the protected heap. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <net/if.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "tests/unit/dirty_mprotect.h"

RUNS(read_and_its_like)
{
	char *p = fresh(), *q = fresh(), *r = fresh(), *v = fresh(), *untouched = fresh();
	int fd = feed("hello", 5), zero = open("/dev/zero", O_RDONLY);
	struct iovec *parts = (struct iovec *)v;

	parts[0] = (struct iovec){ q, 3 };
	parts[1] = (struct iovec){ r, 3 };
	open_window();
	check(read(fd, p, 100) == 5);
	expect(p, "hello");
	/* Beyond what is given nothing is opened. */
	check(!is_dirty(p + GUARD_GRANULE));
	fd = feed("abcdef", 6);
	check(readv(fd, parts, 2) == 6);
	expect(q, "abc");
	expect(r, "def");
	p = fresh();
	check(syscall(SYS_read, zero, p, BLOCK) == BLOCK);
	for (size_t at = 0; at < BLOCK; at += GUARD_GRANULE)
		check(p[at] == 0 && is_dirty(p + at));
	check(!is_dirty(untouched));
	/* What is only read stays clean. */
	check(write(open("/dev/null", O_WRONLY), untouched, BLOCK) == BLOCK);
	check(!is_dirty(untouched));
	close_window();
}

RUNS(sockets)
{
	int s[2];
	char *p = fresh(), *q = fresh(), *c = fresh(), *name = fresh();
	struct msghdr *m = (void *)fresh();
	struct mmsghdr *mm = (void *)fresh();
	struct iovec *parts = (void *)fresh();
	struct sockaddr_un *from = (void *)name;
	socklen_t *len = (void *)fresh();
	struct sockaddr_un local = { .sun_family = AF_UNIX, .sun_path = "" };

	check(socketpair(AF_UNIX, SOCK_DGRAM, 0, s) == 0);
	check(bind(s[1], (void *)&local, sizeof(sa_family_t)) == 0);
	check(setsockopt(s[0], SOL_SOCKET, SO_PASSCRED, &(int){ 1 }, sizeof(int)) == 0);
	for (unsigned i = 0; i < 5; i++)
		check(send(s[1], "datagram", 8, 0) == 8);
	*len = sizeof *from;
	open_window();
	check(recv(s[0], p, 100, 0) == 8);
	expect(p, "datagram");
	check(recvfrom(s[0], q, 100, 0, (void *)from, len) == 8);
	expect(q, "datagram");
	check(from->sun_family == AF_UNIX && is_dirty(from) && is_dirty(len));
	p = fresh();
	parts[0] = (struct iovec){ p, 4 };
	parts[1] = (struct iovec){ p + 2 * GUARD_GRANULE, 4 };
	*m = (struct msghdr){ .msg_iov = parts, .msg_iovlen = 2, .msg_control = c, .msg_controllen = 100 };
	check(recvmsg(s[0], m, 0) == 8);
	expect(p, "data");
	expect(p + 2 * GUARD_GRANULE, "gram");
	check(CMSG_FIRSTHDR(m)->cmsg_type == SCM_CREDENTIALS && is_dirty(c));
	p = fresh();
	q = fresh();
	parts[0] = (struct iovec){ p, 100 };
	parts[1] = (struct iovec){ q, 100 };
	memset(mm, 0, 2 * sizeof *mm);
	mm[0].msg_hdr = (struct msghdr){ .msg_iov = &parts[0], .msg_iovlen = 1 };
	mm[1].msg_hdr = (struct msghdr){ .msg_iov = &parts[1], .msg_iovlen = 1 };
	check(recvmmsg(s[0], mm, 2, MSG_DONTWAIT, NULL) == 2);
	expect(p, "datagram");
	expect(q, "datagram");
	check(mm[1].msg_len == 8);
	*len = 4;
	p = fresh();
	check(getsockopt(s[0], SOL_SOCKET, SO_TYPE, p, len) == 0 && *(int *)p == SOCK_DGRAM && is_dirty(p));
	close_window();
}

RUNS(waiting)
{
	int fd = feed("x", 1), ep = epoll_create1(0);
	struct pollfd *fds = (void *)fresh();
	struct epoll_event *events = (void *)fresh();
	fd_set *set = (void *)fresh();
	struct timespec *t = (void *)fresh();
	sigset_t all;

	check(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &(struct epoll_event){ EPOLLIN, { .u64 = 77 } }) == 0);
	fds[0] = fds[1] = (struct pollfd){ .fd = fd, .events = POLLIN };
	FD_ZERO(set);
	FD_SET(fd, set);
	*t = (struct timespec){ 1, 0 };
	sigfillset(&all);
	open_window();
	check(poll(fds, 2, 0) == 2 && fds[0].revents == POLLIN && is_dirty(fds));
	check(epoll_wait(ep, events, 4, 0) == 1 && events[0].data.u64 == 77 && is_dirty(events));
	check(select(fd + 1, set, NULL, NULL, &(struct timeval){ 0 }) == 1 && is_dirty(set));
	fds = (void *)fresh();
	fds[0] = (struct pollfd){ .fd = fd, .events = POLLIN };
	check(ppoll(fds, 1, t, &all) == 1 && fds[0].revents == POLLIN && is_dirty(fds));
	check(pselect(fd + 1, set, NULL, NULL, t, &all) == 1);
	check(epoll_pwait(ep, events, 4, 0, &all) == 1);
	close_window();
}

RUNS(files_and_the_rest)
{
	struct stat *st = (void *)fresh();
	char *path = fresh(), *entries = fresh(), *unknown = fresh();
	struct rusage *usage = (void *)fresh();
	int *status = (void *)fresh(), *pair = (void *)fresh(), *n = (void *)fresh();
	sigset_t *set = (void *)fresh();
	struct ifconf conf = { .ifc_len = 10 * sizeof(struct ifreq), .ifc_buf = fresh() };
	int fd = feed("1234567", 7), s = socket(AF_INET, SOCK_DGRAM, 0);
	pid_t pid;

	open_window();
	check(stat("/", st) == 0 && S_ISDIR(st->st_mode) && is_dirty(st));
	check(getcwd(path, 4096) == path && path[0] == '/' && is_dirty(path));
	check(syscall(SYS_getdents64, open("/", O_RDONLY), entries, 4096) > 0 && is_dirty(entries));
	check(ioctl(fd, FIONREAD, n) == 0 && *n == 7 && is_dirty(n));
	check(ioctl(s, SIOCGIFCONF, &conf) == 0 && is_dirty(conf.ifc_buf));
	check(pipe(pair) == 0 && is_dirty(pair));
	pid = fork();
	if (pid == 0)
		_exit(7);
	check(wait4(pid, status, 0, usage) == pid && WEXITSTATUS(*status) == 7);
	check(is_dirty(status) && is_dirty(usage));
	check(sigprocmask(SIG_BLOCK, NULL, set) == 0 && is_dirty(set));
	/* In no table. */
	check(syscall(SYS_io_setup, 4, unknown) == -1);
	memset(unknown + GUARD_GRANULE, 0, 8);
	check(syscall(SYS_io_setup, 4, unknown + GUARD_GRANULE) == 0
	      && *(aio_context_t *)(unknown + GUARD_GRANULE) != 0 && is_dirty(unknown + GUARD_GRANULE));
	close_window();
}

RUNS(stdio_with_its_buffer_in_the_heap)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[1000], *grown = NULL;
	size_t size = 0;
	unsigned n = 0;
	char *buffer = fresh();

	check(f && setvbuf(f, buffer, _IOFBF, KIB(128)) == 0);
	open_window();
	check(fread(line, 1, 500, f) == 500);
	while (fgets(line, sizeof line, f))
		n++;
	check(n > 10 && !ferror(f) && is_dirty(buffer));
	rewind(f);
	check(getline(&grown, &size, f) > 20 && strchr(grown, '-'));
	close_window();
}

static uint32_t own_tid(void)
{
	return (uint32_t)syscall(SYS_gettid);
}

/* Words of locks that the kernel takes and gives itself, or that it looks up as other processes would. */
RUNS(futexes)
{
	_Atomic uint32_t *lock = (void *)fresh(), *word = (void *)fresh(), *other = (void *)fresh();
	_Atomic uint32_t *shared = (void *)fresh();
	struct timespec at_once = { 0 };

	*lock = *word = *other = *shared = 0;
	open_window();
	check(syscall(SYS_futex, lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0) == 0);
	check(*lock == own_tid() && is_dirty((void *)lock));
	open_window();
	check(syscall(SYS_futex, lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0) == 0);
	check(*lock == 0 && is_dirty((void *)lock));
	check(syscall(SYS_futex, word, FUTEX_WAKE_OP_PRIVATE, 1, 1, other,
	              FUTEX_OP(FUTEX_OP_SET, 7, FUTEX_OP_CMP_EQ, 0)) == 0);
	check(*other == 7 && is_dirty((void *)other));
	check(syscall(SYS_futex, shared, FUTEX_WAIT, 0, &at_once, NULL, 0) == -1 && errno == ETIMEDOUT);
	check(syscall(SYS_futex, shared, FUTEX_WAKE, 1, NULL, NULL, 0) == 0);
	word = (void *)fresh();
	check(syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) == -1 && errno == EAGAIN);
	check(!is_dirty((void *)word));         /* it was only read */
	close_window();
}

/* The kernel writes for a ring when no call says so: nothing is closed while there is one. */
RUNS(a_ring_of_io_uring_opens_everything)
{
	struct io_uring_params *params = (void *)fresh();
	char *untouched = fresh();
	long fd;
	void *ring;

	memset(params, 0, sizeof *params);
	open_window();
	fd = syscall(SYS_io_uring_setup, 4, params);
	check(is_dirty(untouched));
	close_window();
	if (fd < 0)
		return;                         /* not here */
	ring = mmap(NULL, params->sq_off.array + 4 * sizeof(uint32_t), PROT_READ | PROT_WRITE, MAP_SHARED,
	            (int)fd, IORING_OFF_SQ_RING);
	check(ring != MAP_FAILED && scan_stop());
	check(!dirty_mprotect.arm(heap.base, heap_end()));
	check(dirty_mprotect.may_arm_later());
	scan_resume();
	untouched[0] = 1;
	check(close((int)fd) == 0 && munmap(ring, 4096) == 0);
	open_window();
	check(!dirty_mprotect.may_arm_later());
	close_window();
}

/* A lock that tells when its holder is gone: what the kernel then writes lies in a block, which nobody
 * has written to in the window. */
static _Atomic bool is_held, is_to_end;

static void *hold(void *lock)
{
	check(pthread_mutex_lock(lock) == 0);
	is_held = true;
	while (!is_to_end)
		usleep(100);
	return lock;
}

RUNS(a_robust_lock_in_the_heap)
{
	pthread_mutexattr_t attr;
	pthread_mutex_t *lock = (void *)fresh();
	pthread_t t;

	check(pthread_mutexattr_init(&attr) == 0);
	check(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0);
	check(pthread_mutex_init(lock, &attr) == 0);
	t = scan_create(hold, lock);
	while (!is_held)
		usleep(100);
	open_window();
	check(!is_dirty(lock));
	is_to_end = true;
	check(pthread_join(t, NULL) == 0);
	check(is_dirty(lock));
	check(pthread_mutex_lock(lock) == EOWNERDEAD && pthread_mutex_consistent(lock) == 0);
	check(pthread_mutex_unlock(lock) == 0);
	close_window();
}
