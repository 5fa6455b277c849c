/* leaks_confined.c: in mode leaks the report is there and right, and the program unharmed, without
 * rights: not dumpable, after setuid(), under seccomp filters, under strace; without /proc it is said
 * in one line, and so is io_uring. Threads may spin, come and go, unmap what is being read, and
 * refuse to be stopped.
 *   leaks: it sets the mode itself
 */
#include "tests/process/process.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#define SUMMARY "SUMMARY: spangc: 48 byte(s) leaked in 1 allocation(s).\n"
#define NOBODY 65534

extern int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static _Atomic bool is_over;
static _Atomic unsigned nready;

static __attribute__((noinline)) void leak(size_t nbytes)
{
	memset(hide(malloc(nbytes)), 0, nbytes);
}

static __attribute__((noinline)) void wipe(void)
{
	char room[4096];

	memset(room, 0, sizeof room);
	hide(room);
}

/* --- what is taken from the program --- */

static void deny(int error, const int *calls, size_t n)
{
	struct sock_filter filter[40];
	unsigned short len = 0;

	CHECK(n + 4 < COUNT(filter));
	filter[len++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);      /* its number */
	for (size_t i = 0; i < n; i++)
		filter[len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
		                                             (unsigned)calls[i], (unsigned char)(n - i), 0);
	filter[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	filter[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
	                                             SECCOMP_RET_ERRNO | (unsigned)error);

	struct sock_fprog program = { len, filter };

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(77);
}

static void deny_reading(int error)
{
	static const int calls[] = { SYS_userfaultfd, SYS_process_vm_readv, SYS_ptrace, SYS_mincore };

	deny(error, calls, COUNT(calls));
}

static void deny_children(void)
{
	static const int calls[] = { SYS_clone, SYS_clone3, SYS_fork, SYS_vfork };

	deny(EPERM, calls, COUNT(calls));
}

static void become_nobody(void)
{
	if (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
		_exit(77);
}

static void *hold(void *arg)
{
	void *volatile p = malloc(100);

	nready++;
	while (!is_over)
		usleep(100);
	free(p);
	return arg;
}

static void start(unsigned n, void *(*run)(void *))
{
	pthread_t thread;

	for (unsigned i = 0; i < n; i++)
		CHECK(pthread_create(&thread, NULL, run, NULL) == 0);
	while (nready < n)
		usleep(100);
}

static void deny_signals(void)
{
	static const int calls[] = { SYS_tgkill };

	start(1, hold);
	deny(EPERM, calls, COUNT(calls));
}

static void lose_proc(void)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)
	    || umount2("/proc", MNT_DETACH))
		_exit(77);
}

static void use_uring(void)
{
	char parameters[120] = { 0 };

	if (syscall(SYS_io_uring_setup, 4, parameters) < 0)
		_exit(77);
}

/* --- threads --- */

static void *spin(void *arg)
{
	void *volatile p = malloc(100);

	nready++;
	while (!is_over)
		;
	free(p);
	return arg;
}

static void *live_shortly(void *arg)
{
	free(malloc(100));
	return arg;
}

static void *bear(void *arg)
{
	nready++;
	while (!is_over) {
		pthread_t thread[10];

		for (int i = 0; i < 10; i++)
			CHECK(pthread_create(&thread[i], NULL, live_shortly, NULL) == 0);
		for (int i = 0; i < 10; i++)
			pthread_join(thread[i], NULL);
	}
	return arg;
}

/* By the system call: libc's mask is kept open. */
static void *map_and_unmap(void *arg)
{
	uint64_t all = ~UINT64_C(0);

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof all);
	nready++;
	while (!is_over) {
		char *p = mmap(NULL, MIB(1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		CHECK(p != MAP_FAILED);
		memset(p, 1, MIB(1));
		munmap(p, MIB(1));
	}
	return arg;
}

static void look(unsigned ntimes)
{
	for (unsigned i = 0; i < ntimes; i++)
		CHECK(__lsan_do_recoverable_leak_check() == 0);
	is_over = true;
}

static jmp_buf *back;

static void on_fault(int signo)
{
	(void)signo;
	longjmp(*back, 1);
}

/* A handler for faults is the program's alone. */
static void fault(void)
{
	jmp_buf here;

	back = &here;
	CHECK(signal(SIGSEGV, on_fault) == SIG_DFL);
	if (!setjmp(here)) {
		*(volatile int *)hide((void *)64) = 1;  /* not NULL: a sanitizer looks for that */
		CHECK(false);
	}
	back = NULL;
	signal(SIGSEGV, SIG_DFL);
}

static void confine(const char *how)
{
	if (!strcmp(how, "not dumpable"))
		CHECK(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
	else if (!strcmp(how, "nobody"))
		become_nobody();
	else if (!strcmp(how, "EPERM"))
		deny_reading(EPERM);
	else if (!strcmp(how, "ENOSYS"))
		deny_reading(ENOSYS);
	else if (!strcmp(how, "no children"))
		deny_children();
	else if (!strcmp(how, "no signals"))
		deny_signals();
	else if (!strcmp(how, "proc lost"))
		lose_proc();
	else if (!strcmp(how, "io_uring"))
		use_uring();
	else if (!strcmp(how, "spinning")) {
		start(200, spin);               /* to the end */
	} else if (!strcmp(how, "births")) {
		start(2, bear);
		look(100);
	} else if (!strcmp(how, "vanishing")) {
		start(1, map_and_unmap);
		look(10);
	} else if (!strcmp(how, "faults")) {
		fault();
	}
}

static void set_leaks(void)
{
	setenv("SPANGC_MODE", "leaks", 1);
}

/* Whoever looks up names has to compete with all that spin. */
static void set_no_stacks(void)
{
	set_leaks();
	setenv("SPANGC_STACKS", "off", 1);
}

static void set_no_proc(void)
{
	lose_proc();
	set_leaks();
}

static void ends(const char *how, const char *program, bool is_reported, const char *line)
{
	char *argv[] = { (char *)(uintptr_t)program, (char *)(uintptr_t)how, NULL };
	struct outcome o;

	run_program(&o, argv, !strcmp(how, "no proc") ? set_no_proc
	            : !strcmp(how, "spinning") ? set_no_stacks : set_leaks);
	if (WIFEXITED(o.status) && WEXITSTATUS(o.status) == 77) {
		printf("not looked at: %s\n", how);
		return;
	}
	CHECKF(WIFEXITED(o.status) && WEXITSTATUS(o.status) == 7, "%s: %x: %s", how, (unsigned)o.status,
	       o.err);
	CHECKF(!is_reported || strstr(o.err, SUMMARY), "%s: %s", how, o.err);
	CHECKF(is_reported || (o.nlines == 1 && strstr(o.err, "spangc: no report")), "%s: %s", how,
	       o.err);
	CHECKF(!line || strstr(o.err, line), "%s: %s", how, o.err);
}

static void under_strace(const char *program)
{
	char *argv[] = { (char *)"strace", (char *)"-f", (char *)"-o", (char *)"/dev/null",
	                 (char *)(uintptr_t)program, (char *)"births", NULL };
	struct outcome o;

	run_program(&o, argv, set_leaks);
	if (WIFEXITED(o.status) && WEXITSTATUS(o.status) != 7) {
		printf("not looked at: strace\n");
		return;
	}
	CHECKF(WIFEXITED(o.status) && strstr(o.err, SUMMARY), "strace: %x: %s", (unsigned)o.status, o.err);
}

int main(int argc, char **argv)
{
	static const char *const ways[] = { "nothing", "not dumpable", "nobody", "EPERM", "ENOSYS",
	                                    "no children", "spinning", "births", "vanishing", "faults" };
	static char program[PATH_MAX];

	if (argc > 1) {
		watchdog(100);
		confine(argv[1]);
		leak(48);
		wipe();
		exit(7);
	}
	if (!preloaded_library())
		SKIP("runs with the library only");
	watchdog(110);
	CHECK(readlink("/proc/self/exe", program, sizeof program - 1) > 0);
	for (size_t i = 0; i < COUNT(ways); i++)
		ends(ways[i], program, true, NULL);
	ends("no signals", program, false, NULL);
	ends("io_uring", program, true, "spangc: io_uring is in use");
	ends("proc lost", program, false, NULL);
	ends("no proc", program, false, NULL);
	under_strace(program);
	return 0;
}
