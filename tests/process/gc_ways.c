/* gc_ways.c: mode gc sees writes in the best way that the process may use: what it may not use is forced
 * on it here, before it starts or while it runs, and the next way takes over without an object lost.
 * Descriptors that the program closes or takes are opened again, or done without.
 *   timeout: 300
 *   leaks: it sets the mode itself
 */
#include "tests/process/process.h"
#include "preload/spangc.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif
#define PM_SCAN_SIZE 96
#define PM_SCAN _IOC(_IOC_READ | _IOC_WRITE, 'f', 16, PM_SCAN_SIZE)
#define UFFD_USER_MODE 1
#define NOBODY 65534
#define NNODES 20000
#define NCYCLES 6
#define NMOVED 4000

/* --- what keeps an object --- */

struct node {
	struct node *next;
	uint64_t number, check;
	char more[40];
};

static struct node *volatile chain;

static struct node *make_node(uint64_t number, struct node *next)
{
	struct node *n = malloc(sizeof *n);

	CHECKF(n, "no memory: %s", strerror(errno));
	*n = (struct node){ next, number, pattern_word(number, 1), { 1 } };
	return n;
}

static void make_chain(void)
{
	chain = NULL;
	for (uint64_t i = 0; i < NNODES; i++)
		chain = make_node(i, chain);
}

static void check_chain(void)
{
	uint64_t want = NNODES;

	for (struct node *n = chain; n; n = n->next) {
		CHECKF(n->number == --want && n->check == pattern_word(want, 1), "node %u", (unsigned)want);
	}
	CHECKF(want == 0, "%u nodes are missing", (unsigned)want);
}

/* Every other node is made anew, and lost; so is much else. */
static void churn(void)
{
	struct node *n = chain;

	for (unsigned i = 0; i < NNODES / 2 - 1; i++, n = n->next->next)
		n->next = make_node(n->next->number, n->next->next);
	for (unsigned i = 0; i < 20000; i++)
		memset(hide(malloc(100)), 1, 100);
}

static _Atomic bool is_over;

static void *churn_on(void *arg)
{
	while (!is_over) {
		churn();
		check_chain();
	}
	return arg;
}

/* Cycles, while a thread writes; `before` each something happens. */
static void cycles(unsigned n, void (*before)(unsigned i))
{
	pthread_t thread;

	is_over = false;
	CHECK(pthread_create(&thread, NULL, churn_on, NULL) == 0);
	for (unsigned i = 0; i < n; i++) {
		if (before)
			before(i);
		spangc_collect();
	}
	is_over = true;
	CHECK(pthread_join(thread, NULL) == 0);
	check_chain();
}

/* --- what is taken from the process --- */

enum {
	NO_USERFAULTFD = 1, NO_PAGEMAP_SCAN = 2, NO_DISPATCH = 4, NO_COPIES = 8,
	NO_TRACKING = NO_USERFAULTFD | NO_DISPATCH,
};

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IF_NOT(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(value), 0, skip)
#define REFUSE(error) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* For all threads. */
static void filter(struct sock_filter *code, size_t n)
{
	struct sock_fprog program = { (unsigned short)n, code };

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program))
		_exit(77);
}

static void refuse(unsigned what)
{
	struct sock_filter userfaultfd[] = { LOAD(nr), IF_NOT(SYS_userfaultfd, 1), REFUSE(EPERM), ALLOW };
	struct sock_filter scan[] = { LOAD(nr), IF_NOT(SYS_ioctl, 3), LOAD(args[1]), IF_NOT(PM_SCAN, 1),
	                              REFUSE(ENOTTY), ALLOW };
	struct sock_filter dispatch[] = { LOAD(nr), IF_NOT(SYS_prctl, 3), LOAD(args[0]),
	                                  IF_NOT(PR_SET_SYSCALL_USER_DISPATCH, 1), REFUSE(EINVAL), ALLOW };
	struct sock_filter copies[] = { LOAD(nr), IF_NOT(SYS_clone, 3), LOAD(args[0]), IF_NOT(0, 1),
	                                REFUSE(EAGAIN), ALLOW };

	if (what & NO_USERFAULTFD)
		filter(userfaultfd, COUNT(userfaultfd));
	if (what & NO_PAGEMAP_SCAN)
		filter(scan, COUNT(scan));
	if (what & NO_DISPATCH)
		filter(dispatch, COUNT(dispatch));
	if (what & NO_COPIES)
		filter(copies, COUNT(copies));
}

static bool has_uffd(void)
{
	long fd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE);
	uint64_t api[3] = { 0xaa, 1 << 15, 0 };
	bool has = fd >= 0 && ioctl((int)fd, _IOWR(0xaa, 0x3f, uint64_t[3]), api) == 0;

	close((int)fd);
	return has;
}

static bool has_uring(void)
{
	struct io_uring_params params = { 0 };

	return close((int)syscall(SYS_io_uring_setup, 4, &params)) == 0;
}

static bool has_dispatch(void)
{
	return prctl(PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0) == 0;
}

static void close_all(unsigned i)
{
	(void)i;
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
}

static int file;

/* Files in the place of what was there. */
static void replace_all(unsigned i)
{
	(void)i;
	for (int fd = 3; fd < 1024; fd++) {
		if (fd != file)
			dup2(file, fd);
	}
}

static void refuse_scans(unsigned i)
{
	if (i == 2)
		refuse(NO_PAGEMAP_SCAN);
}

static void refuse_copies(unsigned i)
{
	if (i == 2)
		refuse(NO_COPIES);
}

/* pagemap of a process that may not be dumped can't be opened again. */
static void drop(unsigned i)
{
	CHECK(i != 2 || (setgid(NOBODY) == 0 && setuid(NOBODY) == 0));
}

static void drop_and_close(unsigned i)
{
	drop(i);
	if (i == 4)
		close_all(i);
}

/* --- the programs --- */

static void simple(void)
{
	cycles(NCYCLES, NULL);
}

static void closing(void)
{
	cycles(NCYCLES, close_all);
}

static void *collect_on(void *arg)
{
	while (!*(_Atomic bool *)arg)
		spangc_collect();
	return NULL;
}

/* Some of its queues for a cycle or two. */
static void use_uring(unsigned i)
{
	static int fd;
	static void *ring;
	struct io_uring_params params = { 0 };

	if (i == 1) {
		fd = (int)syscall(SYS_io_uring_setup, 4, &params);
		CHECK(fd >= 0);
		ring = mmap(NULL, OS_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
		CHECK(ring != MAP_FAILED);
	}
	if (i == 3)
		CHECK(munmap(ring, OS_PAGE_BYTES) == 0 && close(fd) == 0);
}

static void uring_meanwhile(void)
{
	cycles(NCYCLES, use_uring);
}

/* While cycles are under way. */
static void closing_always(void)
{
	_Atomic bool is_enough = false;
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, collect_on, &is_enough) == 0);
	for (unsigned i = 0; i < 200; i++) {
		close_all(i);
		sched_yield();
	}
	simple();
	is_enough = true;
	CHECK(pthread_join(thread, NULL) == 0);
}

static void replacing(void)
{
	char path[PATH_MAX];

	scratch_template(path, sizeof path, "gc_ways");
	file = mkstemp(path);
	CHECK(file >= 0 && unlink(path) == 0);
	cycles(NCYCLES, replace_all);
	CHECK(lseek(file, 0, SEEK_END) == 0);
	for (int fd = 3; fd < 200; fd++)
		CHECKF(fcntl(fd, F_GETFD) >= 0, "%d was closed", fd);
}

static void refused_later(void)
{
	cycles(NCYCLES, refuse_scans);
}

static void copies_refused_later(void)
{
	cycles(NCYCLES, refuse_copies);
}

static void dropping(void)
{
	cycles(NCYCLES, drop);
}

static void dropping_and_closing(void)
{
	cycles(NCYCLES, drop_and_close);
}

/* Objects that only one word at a time leads to, which is one of memory that a copy of the process shares,
 * or one that it has for itself. */
static void *move_about(void *arg)
{
	struct node *volatile *shared = arg, **own = calloc(NMOVED, sizeof *own);

	CHECK(own);
	for (uint64_t i = 0; i < NMOVED; i++)
		shared[i] = make_node(i, NULL);
	while (!is_over) {
		for (uint64_t i = 0; i < NMOVED; i++) {
			own[i] = shared[i];
			shared[i] = NULL;
		}
		for (uint64_t i = 0; i < NMOVED; i++) {
			CHECK(own[i]->number == i && own[i]->check == pattern_word(i, 1));
			shared[i] = own[i];
			own[i] = NULL;
		}
		for (uint64_t i = 0; i < NMOVED / 4; i++)
			make_node(~i, NULL);
	}
	return NULL;
}

static void sharing(void)
{
	pthread_t thread;
	void *shared = mmap(NULL, NMOVED * sizeof(void *), PROT_READ | PROT_WRITE,
	                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(shared != MAP_FAILED);
	CHECK(pthread_create(&thread, NULL, move_about, shared) == 0);
	for (unsigned i = 0; i < 10 * NCYCLES; i++)
		spangc_collect();
	is_over = true;
	CHECK(pthread_join(thread, NULL) == 0);
}

/* Children find it zero. */
static void wiped(void)
{
	struct node *volatile *p = mmap(NULL, OS_PAGE_BYTES, PROT_READ | PROT_WRITE,
	                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK((void *)p != MAP_FAILED);
	if (madvise((void *)p, OS_PAGE_BYTES, MADV_WIPEONFORK))
		SKIP("the kernel has no MADV_WIPEONFORK");
	*p = make_node(7, NULL);
	simple();
	CHECK((*p)->number == 7 && (*p)->check == pattern_word(7, 1));
}

static void in_child(void)
{
	pid_t child;
	int status;

	simple();
	child = fork();
	if (child == 0) {
		simple();
		_exit(0);
	}
	simple();
	CHECK(waitpid(child, &status, 0) == child);
	CHECKF(status == 0, "the child ended with %x", (unsigned)status);
}

static const struct program {
	const char *name;
	void (*run)(void);
} programs[] = {
	{ "simple", simple }, { "closing", closing }, { "closing_always", closing_always },
	{ "replacing", replacing }, { "refused_later", refused_later },
	{ "copies_refused_later", copies_refused_later }, { "dropping", dropping },
	{ "dropping_and_closing", dropping_and_closing }, { "in_child", in_child },
	{ "sharing", sharing }, { "wiped", wiped }, { "uring_meanwhile", uring_meanwhile },
};

/* --- what is expected --- */

static unsigned refused;

static void prepare(void)
{
	refuse(refused);
}

/* The last word of the first and of the last line of the trace that came whole. */
static void ways(const char *trace, char first[16], char last[16])
{
	*first = *last = '\0';
	for (const char *line = trace; (line = strstr(line, "gc ")) && strchr(line, '\n'); line++) {
		const char *end = strchr(line, '\n'), *word = end;

		if (line != trace && line[-1] != '\n')
			continue;
		while (word[-1] != ' ')
			word--;
		snprintf(last, 16, "%.*s", (int)(end - word), word);
		if (!*first)
			strcpy(first, last);
	}
}

static void expect(const char *name, const char *way, unsigned what, const char *want_first,
                   const char *want_last, const char *want_line)
{
	struct outcome o;
	char first[16], last[16];

	watchdog(100);
	refused = what;
	setenv("SPANGC_GC_DIRTY", way, 1);
	run_self(&o, name, prepare);
	if (WIFEXITED(o.status) && WEXITSTATUS(o.status) == 77)
		SKIP("no seccomp");
	ways(o.err, first, last);
	CHECKF(ended_well(&o), "%s, %s: status %x: %s", name, way, (unsigned)o.status, o.err);
	CHECKF(strcmp(first, want_first) == 0 && strcmp(last, want_last) == 0,
	       "%s, %s, without %x: %s and %s instead of %s and %s: %s", name, way, what, first, last,
	       want_first, want_last, o.err);
	CHECKF(!want_line || strstr(o.err, want_line), "%s, %s: no \"%s\" in: %s", name, way,
	       want_line, o.err);
	CHECKF(want_line || !strstr(o.err, "spangc: "), "%s, %s: %s", name, way, o.err);
}

static void expect_all(const char *uffd, const char *mprotect)
{
	expect("simple", "auto", 0, uffd, uffd, NULL);
	expect("simple", "auto", NO_USERFAULTFD, mprotect, mprotect, NULL);
	expect("simple", "auto", NO_PAGEMAP_SCAN, mprotect, mprotect, NULL);
	expect("simple", "auto", NO_TRACKING, "snapshot", "snapshot", NULL);
	expect("simple", "auto", NO_TRACKING | NO_COPIES, "stw", "stw", "snapshot failed; stw instead");
	expect("simple", "snapshot", 0, "snapshot", "snapshot", NULL);
	expect("simple", "snapshot", NO_COPIES, "stw", "stw", "snapshot failed; stw instead");
	expect("simple", "stw", 0, "stw", "stw", NULL);
	expect("simple", "uffd", NO_TRACKING, "snapshot", "snapshot",
	       "SPANGC_GC_DIRTY=uffd: not possible here; snapshot instead");
	expect("copies_refused_later", "snapshot", 0, "snapshot", "stw", "snapshot failed; stw instead");
	expect("in_child", "snapshot", 0, "snapshot", "snapshot", NULL);
	expect("sharing", "snapshot", 0, "snapshot", "snapshot", NULL);
	expect("wiped", "snapshot", 0, "stw", "stw", "snapshot failed; stw instead");
}

static void expect_uffd(void)
{
	expect("closing", "uffd", 0, "uffd", "uffd", NULL);
	expect("closing_always", "uffd", 0, "uffd", "uffd", NULL);
	expect("replacing", "uffd", 0, "uffd", "uffd", NULL);
	expect("in_child", "uffd", 0, "uffd", "uffd", NULL);
	expect("sharing", "uffd", 0, "uffd", "uffd", NULL);
	expect("wiped", "uffd", 0, "uffd", "uffd", NULL);
	expect("refused_later", "uffd", NO_DISPATCH, "uffd", "snapshot",
	       "uffd failed; snapshot instead");
	if (getuid() != 0)
		return;
	expect("dropping", "uffd", 0, "uffd", "uffd", NULL);
	expect("dropping_and_closing", "uffd", NO_DISPATCH, "uffd", "snapshot",
	       "uffd failed; snapshot instead");
}

static void expect_mprotect(void)
{
	expect("simple", "mprotect", 0, "mprotect", "mprotect", NULL);
	expect("simple", "uffd", NO_USERFAULTFD, "mprotect", "mprotect",
	       "SPANGC_GC_DIRTY=uffd: not possible here; mprotect instead");
	expect("simple", "mprotect", NO_DISPATCH, "snapshot", "snapshot",
	       "SPANGC_GC_DIRTY=mprotect: not possible here; snapshot instead");
	expect("closing", "mprotect", 0, "mprotect", "mprotect", NULL);
	expect("replacing", "mprotect", 0, "mprotect", "mprotect", NULL);
	expect("in_child", "mprotect", 0, "mprotect", "mprotect", NULL);
	expect("sharing", "mprotect", 0, "mprotect", "mprotect", NULL);
	expect("wiped", "mprotect", 0, "mprotect", "mprotect", NULL);
	if (has_uring())
		expect("uring_meanwhile", "mprotect", 0, "mprotect", "mprotect", "io_uring is in use");
	if (has_uffd())
		expect("refused_later", "uffd", 0, "uffd", "mprotect", "uffd failed; mprotect instead");
}

int main(int argc, char **argv)
{
	const char *mprotect = has_dispatch() ? "mprotect" : "snapshot";

	if (!preloaded_library())
		SKIP("needs the library preloaded");
	watchdog(100);
	for (size_t i = 0; argc > 1 && i < COUNT(programs); i++) {
		if (strcmp(argv[1], programs[i].name) == 0) {
			make_chain();
			programs[i].run();
			return 0;
		}
	}
	setenv("SPANGC_MODE", "gc", 1);
	setenv("SPANGC_GC_PERCENT", "off", 1);
	setenv("SPANGC_GC_TRACE", "1", 1);
	expect_all(has_uffd() ? "uffd" : mprotect, mprotect);
	if (has_uffd())
		expect_uffd();
	if (has_dispatch())
		expect_mprotect();
	return 0;
}
