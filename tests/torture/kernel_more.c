/* kernel_more.c: the other calls by which the kernel writes into blocks, results at any depth.
 *
 * also: SPANGC_VERIFY=1
 */
#include "tests/torture/cell.h"

#include <fcntl.h>
#include <net/if.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#define IGNORED (void)r, (void)p, (void)nbytes
#define WORKS(call) CHECKF((call) >= 0, "%s: %s", #call, strerror(errno))

static int file_with(const struct ref *r)
{
	int fd = memfd_create("torture", MFD_CLOEXEC);

	CHECK(fd >= 0 && write(fd, r, sizeof *r) == sizeof *r);
	return fd;
}

static bool by_pread(const struct ref *r, void *p, size_t nbytes)
{
	int fd = file_with(r);

	CHECK(pread(fd, p, nbytes, 0) == sizeof *r);
	close(fd);
	return true;
}

static bool by_preadv2(const struct ref *r, void *p, size_t nbytes)
{
	int fd = file_with(r);
	struct iovec *piece = malloc(3 * sizeof *piece);

	(void)nbytes;
	piece[0] = (struct iovec){ p, 8 };
	piece[1] = (struct iovec){ NULL, 0 };
	piece[2] = (struct iovec){ (char *)p + 8, 8 };
	CHECK(preadv2(fd, piece, 3, 0, 0) == sizeof *r);
	free(piece);
	close(fd);
	return true;
}

static bool by_process_vm_readv(const struct ref *r, void *p, size_t nbytes)
{
	struct iovec *local = malloc(sizeof *local), *remote = malloc(sizeof *remote);

	(void)nbytes;
	*local = (struct iovec){ p, sizeof *r };
	*remote = (struct iovec){ (void *)(uintptr_t)r, sizeof *r };
	CHECK(process_vm_readv(getpid(), local, 1, remote, 1, 0) == sizeof *r);
	free(local);
	free(remote);
	return true;
}

static bool by_getsockopt(const struct ref *r, void *p, size_t nbytes)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	socklen_t *len = (socklen_t *)((char *)p + 256);
	struct sockaddr_storage *name = (struct sockaddr_storage *)((char *)p + 512);

	IGNORED;
	CHECK(fd >= 0);
	*len = sizeof(int);
	WORKS(getsockopt(fd, SOL_SOCKET, SO_TYPE, p, len));
	CHECK(*(int *)p == SOCK_STREAM && *len == sizeof(int));
	*len = sizeof *name;
	name->ss_family = 99;
	WORKS(getsockname(fd, (struct sockaddr *)name, len));
	CHECK(name->ss_family == AF_UNIX && *len == sizeof(sa_family_t));
	close(fd);
	return false;
}

/* A structure with an address of a buffer in it. */
static bool by_nested_ioctl(const struct ref *r, void *p, size_t nbytes)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct ifconf *c = malloc(sizeof *c);

	(void)r;
	if (fd < 0) {
		free(c);
		return false;
	}
	c->ifc_len = (int)nbytes;
	c->ifc_buf = p;
	WORKS(ioctl(fd, SIOCGIFCONF, c));
	CHECKF(c->ifc_len == 0 || ((struct ifreq *)p)->ifr_name[0], "%d", c->ifc_len);
	free(c);
	close(fd);
	return false;
}

static bool by_select(const struct ref *r, void *p, size_t nbytes)
{
	fd_set *in = p;
	struct timeval *t = (struct timeval *)(in + 1);
	int fd[2];

	IGNORED;
	CHECK(pipe(fd) == 0 && write(fd[1], "x", 1) == 1);
	if (fd[0] < FD_SETSIZE) {
		FD_ZERO(in);
		FD_SET(fd[0], in);
		t->tv_sec = 5;
		CHECK(select(fd[0] + 1, in, NULL, NULL, t) == 1 && FD_ISSET(fd[0], in));
	}
	close(fd[0]);
	close(fd[1]);
	return false;
}

static bool by_pipe(const struct ref *r, void *p, size_t nbytes)
{
	int *fd = p;

	IGNORED;
	fd[0] = fd[1] = fd[2] = fd[3] = -1;
	WORKS(pipe(fd));
	WORKS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd + 2));
	for (unsigned i = 0; i < 4; i++)
		CHECKF(fd[i] > 2 && close(fd[i]) == 0, "%u: %d", i, fd[i]);
	return false;
}

static bool by_counters(const struct ref *r, void *p, size_t nbytes)
{
	int fd = eventfd(7, EFD_CLOEXEC), timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	struct itimerspec *t = (struct itimerspec *)((char *)p + 64);

	IGNORED;
	CHECK(read(fd, p, 8) == 8 && *(uint64_t *)p == 7);
	t->it_value.tv_nsec = 1;
	t->it_interval = (struct timespec){ 0, 0 };
	t->it_value.tv_sec = 0;
	WORKS(timerfd_settime(timer, 0, t, (struct itimerspec *)((char *)p + 128)));
	CHECK(read(timer, p, 8) == 8 && *(uint64_t *)p == 1);
	WORKS(timerfd_gettime(timer, t));
	CHECK(t->it_value.tv_nsec == 0);
	close(fd);
	close(timer);
	return false;
}

static bool by_system_facts(const struct ref *r, void *p, size_t nbytes)
{
	struct utsname local, *u = p;
	struct sysinfo *info = p;
	struct rlimit *limit = p;
	struct statfs *s = p;
	cpu_set_t *cpus = p;

	IGNORED;
	WORKS(uname(u));
	WORKS(uname(&local));
	CHECK(strcmp(u->release, local.release) == 0);
	memset(p, 0, sizeof *info);
	WORKS(sysinfo(info));
	CHECK(info->totalram > 0);
	limit->rlim_max = 1;
	WORKS(getrlimit(RLIMIT_NOFILE, limit));
	CHECK(limit->rlim_max > 1);
	s->f_bsize = 0;
	WORKS(statfs("/proc", s));
	CHECK(s->f_bsize > 0);
	CPU_ZERO(cpus);
	WORKS(sched_getaffinity(0, sizeof *cpus, cpus));
	CHECK(CPU_COUNT(cpus) > 0);
	return false;
}

static bool by_process_facts(const struct ref *r, void *p, size_t nbytes)
{
	struct rusage *usage = p;
	struct timespec *t = p;
	gid_t *groups = p;
	char *name = p;

	IGNORED;
	memset(p, 0, 256);
	WORKS(getrusage(RUSAGE_SELF, usage));
	CHECK(usage->ru_maxrss > 0);
	*t = (struct timespec){ 0, 0 };
	WORKS(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, t));
	CHECK(t->tv_sec > 0 || t->tv_nsec > 0);
	WORKS(getgroups((int)(nbytes / sizeof *groups), groups));
	WORKS(prctl(PR_GET_NAME, name));
	CHECK(strnlen(name, 16) < 16 && name[0]);
	WORKS(readlink("/proc/self/exe", name, nbytes));
	CHECK(name[0] == '/');
	return false;
}

static bool by_mincore(const struct ref *r, void *p, size_t nbytes)
{
	unsigned char *in_memory = p;
	char *page = (char *)((uintptr_t)r & ~(uintptr_t)4095);

	(void)nbytes;
	*in_memory = 99;
	WORKS(mincore(page, 4096, in_memory));
	CHECK(*in_memory == 1);
	return false;
}

static bool by_statx(const struct ref *r, void *p, size_t nbytes)
{
	struct statx *s = p;

	IGNORED;
	memset(s, 0, sizeof *s);
	WORKS(statx(AT_FDCWD, "/proc/self/exe", 0, STATX_ALL, s));
	CHECK(s->stx_size > 0 && s->stx_ino > 0);
	return false;
}

static bool by_message_queue(const struct ref *r, void *p, size_t nbytes)
{
	struct { long type; struct ref r; } sent = { 1, *r }, *got = malloc(nbytes);
	int queue = msgget(IPC_PRIVATE, IPC_CREAT | 0600);

	if (queue < 0) {
		free(got);
		return false;
	}
	CHECK(msgsnd(queue, &sent, sizeof sent.r, 0) == 0);
	CHECK(msgrcv(queue, got, sizeof got->r, 0, 0) == sizeof *r);
	memcpy(p, &got->r, sizeof got->r);
	msgctl(queue, IPC_RMID, NULL);
	free(got);
	return true;
}

/* SIGUSR2 is blocked everywhere: the thread takes its own. */
static bool by_signals(const struct ref *r, void *p, size_t nbytes)
{
	siginfo_t *info = p;
	sigset_t *set = (sigset_t *)((char *)p + 256);
	struct timespec *t = (struct timespec *)((char *)p + 512);
	union sigval value = { .sival_ptr = (void *)r->word };

	(void)nbytes;
	sigemptyset(set);
	sigaddset(set, SIGUSR2);
	WORKS(pthread_sigmask(SIG_BLOCK, set, set + 1) ? -1 : 0);
	CHECK(pthread_sigqueue(pthread_self(), SIGUSR2, value) == 0);
	*t = (struct timespec){ 5, 0 };
	CHECKF(sigtimedwait(set, info, t) == SIGUSR2, "%s", strerror(errno));
	CHECK(info->si_value.sival_ptr == value.sival_ptr);

	uintptr_t word = (uintptr_t)info->si_value.sival_ptr;

	memcpy(p, &(struct ref){ word, r->serial }, sizeof *r);
	WORKS(pthread_sigmask(SIG_SETMASK, set + 1, NULL) ? -1 : 0);
	return true;
}

static bool by_wait(const struct ref *r, void *p, size_t nbytes)
{
	siginfo_t *info = p;
	struct rusage *usage = (struct rusage *)((char *)p + 512);
	int *status = (int *)((char *)p + 1024);
	static _Atomic unsigned n;
	pid_t child;

	IGNORED;
	if (n++ % 16)                           /* they are slow */
		return false;
	child = vfork();
	if (child == 0)
		_exit(7);
	CHECK(child > 0);
	info->si_pid = 0;
	WORKS(waitid(P_PID, (id_t)child, info, WEXITED | WNOWAIT));
	CHECK(info->si_pid == child && info->si_status == 7);
	CHECK(wait4(child, status, 0, usage) == child && WEXITSTATUS(*status) == 7);
	return false;
}

static bool by_getrandom(const struct ref *r, void *p, size_t nbytes)
{
	(void)r;
	memset(p, 0, nbytes);
	CHECK(syscall(SYS_getrandom, p, 256, 0) == 256 && !all_zero(p, 256));
	return false;
}

static bool by_timers(const struct ref *r, void *p, size_t nbytes)
{
	struct timeval *t = p;
	struct timespec *rest = p;
	struct itimerval *i = p;

	IGNORED;
	WORKS(syscall(SYS_gettimeofday, t, NULL));
	CHECK(t->tv_sec > 0);
	*rest = (struct timespec){ 0, 1000 };
	WORKS(nanosleep(rest, rest));
	WORKS(getitimer(ITIMER_VIRTUAL, i));
	CHECK(i->it_value.tv_sec == 0);
	return false;
}

static bool by_sigaction(const struct ref *r, void *p, size_t nbytes)
{
	struct sigaction *old = p;
	sigset_t *set = p;

	IGNORED;
	memset(p, 0xff, 512);
	WORKS(sigaction(SIGUSR1, NULL, old));
	CHECK(old->sa_handler == SIG_DFL);
	WORKS(pthread_sigmask(SIG_SETMASK, NULL, set) ? -1 : 0);
	CHECK(sigismember(set, SIGUSR1) == 0);
	WORKS(sigpending(set));
	WORKS(sigaltstack(NULL, p));
	CHECK(((stack_t *)p)->ss_flags == SS_DISABLE);
	return false;
}

static const struct row rows[] = {
	{ "pread", by_pread },
	{ "preadv2", by_preadv2 },
	{ "process_vm_readv", by_process_vm_readv },
	{ "getsockopt", by_getsockopt },
	{ "SIOCGIFCONF", by_nested_ioctl },
	{ "select", by_select },
	{ "pipe", by_pipe },
	{ "counters", by_counters },
	{ "system", by_system_facts },
	{ "process", by_process_facts },
	{ "mincore", by_mincore },
	{ "statx", by_statx },
	{ "msgrcv", by_message_queue },
	{ "sigtimedwait", by_signals },
	{ "wait", by_wait },
	{ "getrandom", by_getrandom },
	{ "timers", by_timers },
	{ "sigaction", by_sigaction },
};

int main(void)
{
	return cell_main(rows, COUNT(rows));
}
