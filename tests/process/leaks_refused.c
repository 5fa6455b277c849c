/* leaks_refused.c: where threads can't be stopped, for the kernel takes no signals for them or their
 * numbers are another pid namespace's, there is no report, rather than one of what they hold.
 *   leaks: it sets the mode itself
 */
#include "tests/process/process.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>

#define SUMMARY "SUMMARY: spangc: 48 byte(s) leaked in 1 allocation(s).\n"

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

static void *run(void *arg)
{
	for (;;)
		hide(arg);
	return NULL;
}

static void start_thread(void)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, run, NULL) == 0);
}

static void take_no_signals(void)
{
	const struct rlimit none = { 0 };

	CHECK(setrlimit(RLIMIT_SIGPENDING, &none) == 0);
}

static void filter_signals(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { COUNT(f), f };

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
		SKIP("no seccomp");
}

/* The child is process 1, /proc still its parent's. */
static void enter_namespace(void)
{
	int status;
	pid_t child;

	if (unshare(CLONE_NEWPID) && unshare(CLONE_NEWUSER | CLONE_NEWPID))
		SKIP("no pid namespaces");
	child = fork();
	CHECK(child >= 0);
	if (child == 0)
		return;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	syscall(SYS_exit_group, 0);
}

static int run_as(const char *how)
{
	if (!strcmp(how, "namespace"))
		enter_namespace();
	start_thread();
	if (!strcmp(how, "pending"))
		take_no_signals();
	if (!strcmp(how, "filter"))
		filter_signals();
	leak(48);
	wipe();
	return 0;
}

static void set_leaks(void)
{
	setenv("SPANGC_MODE", "leaks", 1);
	unsetenv("SPANGC_REPORT_FORMAT");
}

static void check_run(const char *how, bool is_reported)
{
	struct outcome o;

	run_self(&o, how, set_leaks);
	if (WIFEXITED(o.status) && WEXITSTATUS(o.status) == 77)
		return;
	CHECKF(ended_well(&o), "%s: %x: %s", how, (unsigned)o.status, o.err);
	CHECKF(!strstr(o.err, SUMMARY) == !is_reported, "%s: %s", how, o.err);
	CHECKF(!strstr(o.err, "threads can't be stopped") == is_reported, "%s: %s", how, o.err);
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		watchdog(100);
		return run_as(argv[1]);
	}
	check_run("nothing", true);
	check_run("pending", false);
	check_run("filter", false);
	check_run("namespace", false);
	return 0;
}
