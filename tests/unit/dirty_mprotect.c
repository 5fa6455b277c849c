/* dirty_mprotect.c: the heap protected, and what the program and the kernel write to it meanwhile.
 *
 * Each test runs in a child of its own: the harness has a thread that no signal stops. What the kernel
 * writes is looked for in a block of its own, which must come out dirty, and its contents must be there. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
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
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "scan/dirty.h"
#include "scan/dispatch.h"
#include "scan/faults.h"
#include "scan/guard.h"
#include "tests/unit/scan.h"

#define BLOCK KIB(256)                          /* of several granules */
#define NBLOCKS 64

static char *blocks[NBLOCKS];
static unsigned nblocks;

/* Blocks of several granules each, with memory behind. */
static void fill_heap(void)
{
	for (unsigned i = 0; i < NBLOCKS; i++) {
		blocks[i] = core_malloc(BLOCK);
		check(blocks[i]);
		memset(blocks[i], 0x5a, BLOCK);
	}
}

static char *fresh(void)
{
	check(nblocks < NBLOCKS);
	return blocks[nblocks++];
}

static uintptr_t heap_end(void)
{
	return heap.base + heap.nbytes;
}

static void open_window(void)
{
	check(scan_stop());
	check(dirty_mprotect.arm(heap.base, heap_end()));
	scan_resume();
}

static struct find {
	uintptr_t p;
	bool is_found;
} find;

static void look(uintptr_t from, uintptr_t to, void *arg)
{
	struct find *f = arg;

	f->is_found |= f->p >= from && f->p < to;
}

static bool is_dirty(const void *p)
{
	find = (struct find){ .p = (uintptr_t)p };
	check(scan_stop());
	check(dirty_mprotect.collect(heap.base, heap_end(), false, look, &find));
	scan_resume();
	return find.is_found;
}

static void close_window(void)
{
	dirty_mprotect.disarm();
}

static void prepare(void)
{
	core_start();
	check(scan_threads_start());
	fill_heap();
	check(dirty_mprotect.start());
}

/* 0 or the signal or status that it ended with. */
static int outcome_of(void (*test)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		alarm(30);
		prepare();
		test();
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status) << 8;
}

#define RUNS(name) \
	static void name##_body(void); \
	Test(dirty_mprotect, name) { cr_assert_eq(outcome_of(name##_body), 0); } \
	static void name##_body(void)

RUNS(a_store_makes_its_granule_dirty_and_no_other)
{
	char *p = fresh();

	open_window();
	check(!is_dirty(p));
	check(p[GUARD_GRANULE] == 0x5a);
	check(!is_dirty(p + GUARD_GRANULE));
	p[GUARD_GRANULE] = 1;
	check(is_dirty(p + GUARD_GRANULE));
	check(!is_dirty(p + 3 * GUARD_GRANULE));
	close_window();
	p[3 * GUARD_GRANULE] = 2;
	check(p[GUARD_GRANULE] == 1 && p[3 * GUARD_GRANULE] == 2);
	check(dirty_mprotect.counts().nfaults == 1);
}

RUNS(a_window_can_be_opened_again_and_again)
{
	char *p = fresh();

	for (unsigned i = 0; i < 100; i++) {
		open_window();
		check(!is_dirty(p));
		p[0] = (char)i;
		check(is_dirty(p));
		if (i % 2)
			close_window();
	}
	close_window();
}

RUNS(rearmed_granules_are_clean_and_new_heap_is_tracked)
{
	char *p = fresh();
	struct find f = { .p = (uintptr_t)p };

	open_window();
	p[0] = 1;
	check(scan_stop());
	check(dirty_mprotect.collect(heap.base, heap_end(), true, look, &f));
	scan_resume();
	check(f.is_found && !is_dirty(p));
	p[0] = 2;
	check(is_dirty(p));

	char *grown = core_malloc(MIB(300));

	check(grown);
	memset(grown, 1, MIB(1));
	check(is_dirty(grown) && is_dirty(grown + MIB(200)));
	check(scan_stop());
	check(dirty_mprotect.collect(heap.base, heap_end(), true, look, &f));
	scan_resume();
	check(!is_dirty(grown) && !is_dirty(grown + MIB(200)));
	grown[MIB(200)] = 1;
	check(!is_dirty(grown) && is_dirty(grown + MIB(200)));
	close_window();
}

/* --- what the kernel writes --- */

static int feed(const char *text, size_t n)
{
	int ends[2];

	check(pipe(ends) == 0);
	check(write(ends[1], text, n) == (ssize_t)n);
	return ends[0];
}

static void expect(const char *p, const char *text)
{
	check(memcmp(p, text, strlen(text)) == 0);
	check(is_dirty(p));
}

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

/* --- threads --- */

static int pipe_ends[2];
static _Atomic bool is_blocking;

static void *read_pipe(void *to)
{
	is_blocking = true;
	check(read(pipe_ends[0], to, 100) == 5);
	return to;
}

/* The window opens while the thread is in the kernel, in a call that was made before; the second one
 * while it is in a call that the first one's stub has made. */
RUNS(a_blocked_read_across_windows)
{
	char *p = fresh();
	pthread_t t;

	check(pipe(pipe_ends) == 0);
	t = scan_create(read_pipe, p);
	while (!is_blocking)
		usleep(100);
	usleep(20000);
	for (unsigned i = 0; i < 3; i++) {
		open_window();
		usleep(10000);
		if (i == 1)
			close_window();
	}
	check(write(pipe_ends[1], "hello", 5) == 5);
	check(pthread_join(t, NULL) == 0);
	expect(p, "hello");
	close_window();
}

static _Atomic unsigned nhandled;

static void count(int signo)
{
	char *own = blocks[NBLOCKS - 1];

	own[(nhandled * 4096) % BLOCK] = (char)signo;
	nhandled++;
	getppid();
}

/* Wants everything blocked, before the window and in it. */
static void *block_all(void *arg)
{
	char *p = arg;
	sigset_t all;

	sigfillset(&all);
	sigdelset(&all, scan_threads_signal()); /* as preload has it */
	check(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
	is_blocking = true;
	while (!guard_is_closed())
		usleep(100);
	p[0] = 1;
	check(getppid() > 0);
	check(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
	p[GUARD_GRANULE] = 2;
	check(getppid() > 0);
	sigfillset(&all);
	sigdelset(&all, SIGUSR1);
	is_blocking = false;
	sigsuspend(&all);                       /* the handler runs with all else blocked */
	return NULL;
}

RUNS(masks_that_hold_everything)
{
	struct sigaction a = { .sa_handler = count };
	char *p = fresh();
	pthread_t t;

	sigfillset(&a.sa_mask);
	check(sigaction(SIGUSR1, &a, NULL) == 0);
	t = scan_create(block_all, p);
	while (!is_blocking)
		usleep(100);
	open_window();
	check(raise(SIGUSR1) == 0 && nhandled == 1);
	check(sigaction(SIGUSR1, &a, NULL) == 0);
	check(raise(SIGUSR1) == 0 && nhandled == 2);
	while (is_blocking)
		usleep(100);
	usleep(10000);
	check(pthread_kill(t, SIGUSR1) == 0);
	check(pthread_join(t, NULL) == 0);
	check(nhandled == 3 && is_dirty(p) && is_dirty(p + GUARD_GRANULE));
	close_window();
}

static void *use_heap(void *arg)
{
	char *p = arg;
	int fd = feed("abc", 3);

	check(read(fd, p, 3) == 3 && memcmp(p, "abc", 3) == 0);
	p[2 * GUARD_GRANULE] = 1;
	return p;
}

RUNS(threads_that_start_in_a_window)
{
	open_window();
	for (unsigned i = 0; i < 20; i++) {
		char *p = fresh();
		pthread_t t;

		check(pthread_create(&t, NULL, use_heap, p) == 0);
		check(pthread_join(t, NULL) == 0);
		expect(p, "abc");
		check(is_dirty(p + 2 * GUARD_GRANULE));
	}
	close_window();
}

RUNS(a_thread_whose_stack_is_in_the_heap)
{
	char *stack = core_malloc(MIB(1));
	pthread_attr_t attr;
	pthread_t t;

	memset(stack, 0x5a, MIB(1));
	pthread_attr_init(&attr);
	check(pthread_attr_setstack(&attr, stack, MIB(1)) == 0);
	for (unsigned i = 0; i < 5; i++) {
		char *p = fresh();

		open_window();
		check(pthread_create(&t, &attr, use_heap, p) == 0);
		if (i % 2)
			open_window();          /* the store may have been before */
		check(pthread_join(t, NULL) == 0);
		check(memcmp(p, "abc", 3) == 0);
		close_window();
	}
}

RUNS(children_in_a_window)
{
	char *p = fresh();
	int status;

	for (unsigned i = 0; i < 20; i++) {
		open_window();

		pid_t pid = i % 2 ? fork() : (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

		if (pid == 0) {
			int fd = feed("child", 5);

			/* Not protected there: nobody says what the kernel writes. */
			_exit(read(fd, p, 100) == 5 && memcmp(p, "child", 5) == 0 && !guard_is_closed()
			      ? 5 : 6);
		}
		check(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 5);
		check(p[0] == 0x5a);
		check(system("exit 9") == 9 << 8);

		char *const argv[] = { "true", NULL };
		pid_t spawned;

		check(posix_spawn(&spawned, "/bin/true", NULL, NULL, argv, environ) == 0);
		check(waitpid(spawned, &status, 0) == spawned && status == 0);
		pid = vfork();
		if (pid == 0)
			_exit(3);
		check(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 3);
		check(guard_is_closed());
		close_window();
	}
}

/* --- signals --- */

static sigjmp_buf back;
static volatile uintptr_t seen_address, seen_stack;

static void on_segv(int signo, siginfo_t *info, void *context)
{
	char here;

	(void)signo;
	(void)context;
	seen_address = (uintptr_t)info->si_addr;
	seen_stack = (uintptr_t)&here;
	blocks[NBLOCKS - 2][0] = 1;             /* another fault, in here */
	siglongjmp(back, 1);
}

static void on_segv_return(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	nhandled++;
	mprotect((void *)((uintptr_t)info->si_addr & ~(uintptr_t)4095), 4096, PROT_READ | PROT_WRITE);
}

/* The program's own: on its own alternate stack, which lies in the heap. */
RUNS(the_programs_handler_of_sigsegv)
{
	char *alt = fresh(), *p = fresh();
	char *guarded = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sigaction a = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_ONSTACK }, old;

	check(sigaltstack(&(stack_t){ .ss_sp = alt, .ss_size = KIB(64) }, NULL) == 0);
	check(sigaction(SIGSEGV, &a, NULL) == 0);
	for (unsigned i = 0; i < 6; i++) {
		open_window();
		p[0] = (char)i;
		check(is_dirty(p));
		seen_address = 0;
		if (!sigsetjmp(back, 1)) {
			guarded[i] = 1;
			check(false);
		}
		check(seen_address == (uintptr_t)guarded + i);
		check(seen_stack - (uintptr_t)alt < KIB(64));
		check(is_dirty(alt));
		if (i % 2)
			close_window();
	}
	open_window();
	check(sigaction(SIGSEGV, NULL, &old) == 0 && old.sa_sigaction == on_segv
	      && (old.sa_flags & ~0x04000000) == a.sa_flags);
	a = (struct sigaction){ .sa_sigaction = on_segv_return, .sa_flags = SA_SIGINFO };
	check(sigaction(SIGSEGV, &a, &old) == 0 && old.sa_sigaction == on_segv);
	guarded[0] = 1;
	check(nhandled == 1 && guarded[0] == 1);
	close_window();
}

static void on_sys(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	nhandled += info->si_code == SI_TKILL;
}

RUNS(the_programs_handler_of_sigsys)
{
	struct sigaction a = { .sa_sigaction = on_sys, .sa_flags = SA_SIGINFO };

	check(sigaction(SIGSYS, &a, NULL) == 0);
	open_window();
	check(raise(SIGSYS) == 0 && nhandled == 1);
	close_window();
	check(raise(SIGSYS) == 0 && nhandled == 2);
}

static void crash(void)
{
	open_window();
	*(volatile char *)(uintptr_t)getpid() = 1;
}

static void crash_sent(void)
{
	open_window();
	raise(SIGSEGV);
}

static void crash_by_sys(void)
{
	open_window();
	raise(SIGSYS);
}

static void crash_later(void)
{
	open_window();
	close_window();
	*(volatile char *)(uintptr_t)getpid() = 1;
}

Test(dirty_mprotect, a_true_crash_is_still_one)
{
	cr_assert_eq(outcome_of(crash), SIGSEGV);
	cr_assert_eq(outcome_of(crash_sent), SIGSEGV);
	cr_assert_eq(outcome_of(crash_later), SIGSEGV);
	cr_assert_eq(outcome_of(crash_by_sys), SIGSYS);
}

static void small_stack_handler(int signo)
{
	struct stat st;

	count(signo);
	check(stat("/", &st) == 0);
}

RUNS(a_small_alternate_stack_in_the_heap)
{
	char *alt = fresh();
	struct sigaction a = { .sa_handler = small_stack_handler, .sa_flags = SA_ONSTACK };

	check(sigaltstack(&(stack_t){ .ss_sp = alt, .ss_size = (size_t)sysconf(_SC_MINSIGSTKSZ) }, NULL)
	      == 0);
	check(sigaction(SIGUSR1, &a, NULL) == 0);
	open_window();
	check(raise(SIGUSR1) == 0 && nhandled == 1);
	close_window();
}

/* --- coroutines --- */

static ucontext_t main_context, coroutine;
static char *coroutines_block;

static void run_coroutine(void)
{
	for (unsigned i = 0;; i++) {
		volatile char local[KIB(100)];
		int fd = feed("xyz", 3);

		for (size_t at = 0; at < sizeof local; at += 4096)
			local[at] = (char)i;
		check(read(fd, coroutines_block, 3) == 3 && memcmp(coroutines_block, "xyz", 3) == 0);
		close(fd);
		check(local[0] == (char)i);
		close(fd + 1);
		swapcontext(&coroutine, &main_context);
	}
}

static void make_coroutine(void)
{
	char *stack = core_malloc(MIB(1));

	memset(stack, 0, MIB(1));
	coroutines_block = fresh();
	getcontext(&coroutine);
	coroutine.uc_stack = (stack_t){ .ss_sp = stack, .ss_size = MIB(1) };
	makecontext(&coroutine, run_coroutine, 0);
}

RUNS(a_coroutine_whose_stack_is_in_the_heap)
{
	make_coroutine();
	for (unsigned i = 0; i < 10; i++) {
		swapcontext(&main_context, &coroutine);
		open_window();
		swapcontext(&main_context, &coroutine);
		check(is_dirty(coroutines_block));
		swapcontext(&main_context, &coroutine);
		if (i % 2)
			close_window();
	}
	close_window();
}

static _Atomic bool is_over;

static void *run_coroutines(void *arg)
{
	(void)arg;
	while (!is_over)
		swapcontext(&main_context, &coroutine);
	return NULL;
}

RUNS(a_thread_that_is_stopped_on_a_coroutine)
{
	pthread_t t;

	make_coroutine();
	t = scan_create(run_coroutines, NULL);
	for (unsigned i = 0; i < 200; i++) {
		open_window();
		usleep(300);
		if (i % 3)
			close_window();
	}
	is_over = true;
	check(pthread_join(t, NULL) == 0);
	close_window();
}

/* --- limits --- */

static void *nothing(void *arg)
{
	return arg;
}

/* More scattered granules than the kernel has mappings for: all is open then, and the program's own calls
 * go on. */
RUNS(scattered_stores_leave_mappings_for_the_program)
{
	const size_t nbytes = (size_t)2 * 9000 * GUARD_GRANULE;
	char *p = core_malloc(nbytes);
	pthread_t t;

	check(p);
	open_window();
	for (size_t i = 0; i < 9000; i++)
		p[2 * i * GUARD_GRANULE] = 1;
	check(is_dirty(p) && is_dirty(p + GUARD_GRANULE));
	check(pthread_create(&t, NULL, nothing, NULL) == 0 && pthread_join(t, NULL) == 0);
	check(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	check(dirty_mprotect.counts().nfaults < 8100);
	close_window();
	open_window();
	check(!is_dirty(p));
	p[0] = 1;
	check(is_dirty(p) && !is_dirty(p + GUARD_GRANULE));
	close_window();
}

/* What the program protects itself stays so: code that it makes, and guards of its own. */
RUNS(protections_of_the_programs_own)
{
	char *p = fresh(), *q = fresh();
	char *page = (char *)align_up((uintptr_t)p, 4096), *guarded = (char *)align_up((uintptr_t)q, 4096);
	struct sigaction a = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };
	int (*code)(void);

	memcpy(page, "\xb8\x07\0\0\0\xc3", 6);
	memcpy(&code, &page, sizeof code);
	check(sigaction(SIGSEGV, &a, NULL) == 0);
	check(mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0);
	for (unsigned i = 0; i < 4; i++) {
		open_window();
		check(code() == 7);
		check(mprotect(guarded, 4096, PROT_NONE) == 0);
		if (!sigsetjmp(back, 1)) {
			guarded[0] = 1;
			check(false);
		}
		if (i % 2)
			close_window();
		if (!sigsetjmp(back, 1)) {
			guarded[0] = 1;
			check(false);
		}
		check(code() == 7);
		check(mprotect(guarded, 4096, PROT_READ | PROT_WRITE) == 0);
		guarded[0] = 2;
	}
	close_window();
}

RUNS(memory_given_back_in_a_window)
{
	char *p = fresh();

	open_window();
	check(madvise((void *)align_up((uintptr_t)p, 4096), KIB(128), MADV_DONTNEED) == 0);
	p[KIB(64)] = 1;
	check(is_dirty(p + KIB(64)) && p[KIB(65)] == 0);
	close_window();
}
