/* leaks_living.c: reports of a process that runs on: from the API, on a signal, by period, through the
 * socket, in a child of fork, without clone(). The program does not notice: no child to wait for, no
 * SIGCHLD, nothing written twice, its descriptors its own, its end its own.
 *
 * timeout: 120
 */
#include "tests/process/process.h"
#include "tests/wipe.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static char folder[PATH_MAX];
static volatile sig_atomic_t nsignals, nchildren;

static size_t (*leak_report)(void);

static NOINLINE void leak(size_t nbytes)
{
	memset(hide(malloc(nbytes)), 0, nbytes);
}

static NOINLINE void lose_48(void)
{
	leak(48);
	wipe();
}

static const char *path_of(const char *name)
{
	static char path[PATH_MAX + 32];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

/* Report number n, as soon as all of it is there; NULL: not within the time. */
static const char *report(unsigned n, long ms)
{
	char name[32];

	snprintf(name, sizeof name, "r.%u", n);
	for (; ms > 0; ms -= 10) {
		struct stat st;

		if (stat(path_of(name), &st) == 0 && st.st_size > 0) {
			const char *text = proc_text(path_of(name));

			if (strstr(text, "]}\n"))
				return text;
		}
		sleep_ms(10);
	}
	return NULL;
}

static void expect_report(unsigned n, const char *when)
{
	const char *text = report(n, 20000);
	char pid[32];

	snprintf(pid, sizeof pid, "\"pid\":%d,", getpid());
	CHECKF(text, "no report %u", n);
	CHECKF(strstr(text, when) && strstr(text, pid) && strstr(text, "\"direct_bytes\":48,"), "%s",
	       text);
}

static void count_signal(int signo)
{
	if (signo == SIGCHLD)
		nchildren++;
	else
		nsignals++;
}

/* --- from the API --- */

static void expect_48(void)
{
	size_t nbytes = leak_report();

	CHECKF(nbytes == 48, "%zu bytes", nbytes);
}

static void api(void)
{
	FILE *f = fopen(path_of("once"), "w");
	int status;

	CHECK(f);
	signal(SIGCHLD, count_signal);
	lose_48();
	fputs("once", f);
	for (unsigned i = 1; i <= 3; i++) {
		expect_48();
		CHECK(waitpid(-1, &status, WNOHANG) == -1 && errno == ECHILD);
		CHECK(wait(&status) == -1 && errno == ECHILD);
		expect_report(i, "\"when\":\"demand\"");
		CHECKF(!strstr(report(i, 1000), "\"copy_us\":0,"), "%s", report(i, 1000));
	}
	CHECK(nchildren == 0);
	fclose(f);
	CHECK(!strcmp(proc_text(path_of("once")), "once"));
}

/* Held by the kernel alone. */
static NOINLINE void hand_to_kernel(void)
{
	int epoll = epoll_create1(0), fd[2];
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = malloc(1000) };
	struct sigevent timer = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1,
		                  .sigev_value.sival_ptr = malloc(2000) };
	timer_t id;

	CHECK(pipe(fd) == 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd[0], &e) == 0);
	CHECK(timer_create(CLOCK_MONOTONIC, &timer, &id) == 0);
}

static NOINLINE void hand_to_shared(void)
{
	void **p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	*p = malloc(3000);
}

static void kernel(void)
{
	char second[PATH_MAX];

	hand_to_kernel();
	hand_to_shared();
	lose_48();
	expect_48();
	CHECK(unlink(path_of("r.1")) == 0);
	expect_48();
	CHECK(access(path_of("r.1"), F_OK) != 0 && report(2, 20000));    /* numbers are used once */
	strcpy(second, path_of("r.2"));
	CHECK(rename(second, path_of("r.1")) == 0);
}

static void *work(void *end)
{
	while (!*(volatile bool *)end)
		free(hide(malloc(100)));
	return NULL;
}

static void threads(void)
{
	static bool end;
	pthread_t thread[8];

	lose_48();
	for (size_t i = 0; i < COUNT(thread); i++)
		CHECK(pthread_create(&thread[i], NULL, work, &end) == 0);
	for (int i = 0; i < 5; i++)
		expect_48();
	*(volatile bool *)&end = true;
	for (size_t i = 0; i < COUNT(thread); i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
}

static void refuse_clone(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_VM, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { COUNT(code), code };

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		SKIP("no seccomp");
}

static void refused(void)
{
	refuse_clone();
	lose_48();
	expect_48();
	expect_48();
	expect_report(1, "\"when\":\"demand\"");
	CHECK(strstr(report(1, 1000), "\"copy_us\":0,"));
}

/* --- signals, periods --- */

static void by_signal(void)
{
	struct sigaction old;

	CHECK(sigaction(SIGUSR2, NULL, &old) == 0 && old.sa_handler == SIG_DFL && !old.sa_flags);
	signal(SIGCHLD, count_signal);
	lose_48();
	CHECK(raise(SIGUSR2) == 0);
	expect_report(1, "\"when\":\"signal\"");
	CHECK(kill(getpid(), SIGUSR2) == 0);
	expect_report(2, "\"when\":\"signal\"");
	CHECK(nchildren == 0);
}

/* Its own handler takes our place; its default action does not kill it. */
static void own_handler(void)
{
	struct sigaction own = { .sa_handler = count_signal }, plain = { .sa_handler = SIG_DFL }, old;

	lose_48();
	CHECK(sigaction(SIGUSR2, &own, &old) == 0 && old.sa_handler == SIG_DFL);
	CHECK(raise(SIGUSR2) == 0 && nsignals == 1);
	CHECK(!report(1, 300));
	CHECK(sigaction(SIGUSR2, &plain, &old) == 0 && old.sa_handler == count_signal);
	CHECK(sigaction(SIGUSR2, NULL, &old) == 0 && old.sa_handler == SIG_DFL);
	CHECK(raise(SIGUSR2) == 0);
	expect_report(1, "\"when\":\"signal\"");
	CHECK(signal(SIGUSR2, SIG_IGN) == SIG_DFL);
	CHECK(raise(SIGUSR2) == 0);
	expect_report(2, "\"when\":\"signal\"");
	CHECK(signal(SIGUSR2, count_signal) == SIG_IGN);
	CHECK(raise(SIGUSR2) == 0 && nsignals == 2);
	CHECK(signal(SIGUSR2, SIG_DFL) == count_signal);
	CHECK(raise(SIGUSR2) == 0);
	expect_report(3, "\"when\":\"signal\"");
}

/* The report that was asked for comes, whole, before the last one. */
static void at_the_end(void)
{
	lose_48();
	raise(SIGUSR2);
	sleep_ms(20);
	exit(0);
}

static void *end_soon(void *arg)
{
	sleep_ms(200);
	return arg;
}

/* Our thread is not the one that keeps the process alive. */
static void last_thread(void)
{
	pthread_t thread;

	lose_48();
	CHECK(pthread_create(&thread, NULL, end_soon, NULL) == 0);
	pthread_detach(thread);
	pthread_exit(NULL);
}

static void alone(void)
{
	CHECK(threads_become(2, 60));
	CHECK(unshare(CLONE_THREAD) == 0);
	CHECK(threads_become(2, 60));
	lose_48();
	raise(SIGUSR2);
	expect_report(1, "\"when\":\"signal\"");
}

static void by_period(void)
{
	lose_48();
	expect_report(1, "\"when\":\"period\"");
	expect_report(2, "\"when\":\"period\"");
	expect_report(3, "\"when\":\"period\"");
}

/* --- the socket --- */

/* What is answered; without its end if `end` is missing. */
static const char *ask(const char *path, const char *line)
{
	static char answer[1 << 16];
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	size_t len = 0;
	ssize_t n;

	strcpy(a.sun_path, path);
	for (int tries = 0; connect(fd, (struct sockaddr *)&a, sizeof a); tries++) {
		CHECKF(tries < 1000, "%s: %s", path, strerror(errno));
		sleep_ms(10);
	}
	CHECK(write(fd, line, strlen(line)) == (ssize_t)strlen(line));
	while ((n = read(fd, answer + len, sizeof answer - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	answer[len] = '\0';
	CHECKF(strlen(answer) < len, "%s", answer);
	CHECKF(!strcmp(answer + strlen(answer) + 1, "ok\n")
	       || !strncmp(answer + strlen(answer) + 1, "refused: ", 9), "%s", answer);
	return *answer ? answer : answer + 1;
}

static void expect_answer(const char *path)
{
	const char *text = ask(path, "leaks json\n");
	char pid[32];

	snprintf(pid, sizeof pid, "\"pid\":%d,", getpid());
	CHECKF(strstr(text, "\"direct_bytes\":48,") && strstr(text, pid)
	       && strstr(text, "\"when\":\"demand\""), "%s", text);
}

static void by_socket(void)
{
	char path[PATH_MAX];
	struct stat st;

	strcpy(path, path_of("socket"));
	lose_48();
	expect_answer(path);
	CHECK(stat(path, &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0600);
	CHECK(strstr(ask(path, "stats\n"), "==STATS: spangc: memory"));
	CHECK(strstr(ask(path, "collect\n"), "refused: this is for mode gc"));
	CHECK(strstr(ask(path, "leaks xml\n"), "refused: no such format"));
	CHECK(strstr(ask(path, "nothing\n"), "refused: no such request"));
	CHECK(strstr(ask(path, "leaks text\n"), "SUMMARY: spangc: 48 byte(s) leaked"));
	expect_answer(path);
}

/* EBUSY: just now somebody else, the library, opens that number. */
static void take_number(int file, int fd)
{
	int taken;

	do
		taken = dup2(file, fd);
	while (taken < 0 && errno == EBUSY);
	CHECKF(taken == fd, "%d: %s", fd, strerror(errno));
}

/* A program that closes what it did not open, and has these numbers for files of its own. */
static void closed(void)
{
	char path[PATH_MAX];
	struct stat before, after;
	int file = open(path_of("file"), O_RDWR | O_CREAT, 0600);

	strcpy(path, path_of("socket"));
	lose_48();
	expect_answer(path);
	for (int fd = 3; fd < 300; fd++) {
		if (fd != file)
			take_number(file, fd);
	}
	CHECK(fstat(file, &before) == 0);
	for (int i = 0; i < 20; i++)
		sleep_ms(100);
	expect_answer(path);
	for (int fd = 3; fd < 300; fd++) {
		CHECK(fstat(fd, &after) == 0 && after.st_ino == before.st_ino);
		CHECK(fd == file || close(fd) == 0);
	}
	CHECK(after.st_size == 0);
	expect_answer(path);
}

/* With several threads the child gets its own when it makes its first one. */
static void forked_with(unsigned nthreads)
{
	char path[PATH_MAX], own[PATH_MAX + 20];
	pthread_t thread;
	pid_t child;
	int status;

	strcpy(path, path_of("socket"));
	lose_48();
	expect_answer(path);
	if (nthreads > 1)
		CHECK(pthread_create(&thread, NULL, end_soon, NULL) == 0);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		snprintf(own, sizeof own, "%s.%d", path, getpid());
		if (nthreads > 1)
			CHECK(pthread_create(&thread, NULL, end_soon, NULL) == 0);
		expect_answer(own);
		expect_48();
		exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECKF(status == 0, "%x", (unsigned)status);
	snprintf(own, sizeof own, "%s.%d", path, child);
	CHECK(access(own, F_OK) != 0);
	expect_answer(path);
}

/* Each has its own copies and their results. */
static void both(void)
{
	pid_t child;
	int status;

	lose_48();
	child = fork();
	CHECK(child >= 0);
	if (child == 0)
		lose_48();
	for (int i = 0; i < 40; i++) {
		size_t nbytes = leak_report();

		CHECKF(nbytes == (child ? 48 : 96), "%zu", nbytes);
	}
	if (child == 0)
		exit(0);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void forked(void)
{
	forked_with(1);
}

static void forked_threads(void)
{
	forked_with(2);
}

/* --- all of them --- */

static const struct living {
	const char *name;
	void (*act)(void);
	const char *setting, *value;
	unsigned nreports;                      /* with the one at exit */
	const char *line;                       /* on stderr */
} all[] = {
	{ "api", api, NULL, NULL, 4, NULL },
	{ "kernel", kernel, NULL, NULL, 1, NULL },
	{ "threads", threads, NULL, NULL, 6, NULL },
	{ "refused", refused, NULL, NULL, 3,
	  "spangc: no copy of the process for reports: not permitted; it stands still while they are "
	  "made\n" },
	{ "by_signal", by_signal, "SPANGC_REPORT_SIGNAL", "USR2", 3, NULL },
	{ "own_handler", own_handler, "SPANGC_REPORT_SIGNAL", "SIGUSR2", 4, NULL },
	{ "at_the_end", at_the_end, "SPANGC_REPORT_SIGNAL", "12", 2, NULL },
	{ "last_thread", last_thread, "SPANGC_REPORT_SIGNAL", "USR2", 1, NULL },
	{ "alone", alone, "SPANGC_REPORT_SIGNAL", "USR2", 2, NULL },
	{ "by_period", by_period, "SPANGC_REPORT_EVERY", "100ms", 0, NULL },
	{ "by_socket", by_socket, "SPANGC_CONTROL", "socket", 1, NULL },
	{ "closed", closed, "SPANGC_CONTROL", "socket", 1, NULL },
	{ "both", both, NULL, NULL, 0, NULL },
	{ "forked", forked, "SPANGC_CONTROL", "socket", 3, NULL },
	{ "forked_threads", forked_threads, "SPANGC_CONTROL", "socket", 3, NULL },
};

static const struct living *current;

static void set_environment(void)
{
	setenv("SPANGC_MODE", "leaks", 1);
	setenv("SPANGC_REPORT", path_of("r.%n"), 1);
	setenv("SPANGC_REPORT_FORMAT", "json", 1);
	setenv("SPANGC_STACKS", "off", 1);
	setenv("FOLDER", folder, 1);
	if (current->setting)
		setenv(current->setting,
		       strcmp(current->value, "socket") ? current->value : path_of("socket"), 1);
}

static void run(const struct living *l)
{
	struct outcome o;
	unsigned n = 1;

	scratch_template(folder, sizeof folder, "living");
	CHECK(mkdtemp(folder));
	current = l;
	run_self(&o, l->name, set_environment);
	if (WIFEXITED(o.status) && WEXITSTATUS(o.status) == 77)
		return;
	CHECKF(ended_well(&o), "%s: %x: %s", l->name, (unsigned)o.status, o.err);
	CHECKF(!strcmp(o.err, l->line ? l->line : ""), "%s: %s", l->name, o.err);
	while (report(n, 10))
		n++;
	CHECKF(!l->nreports || n - 1 == l->nreports, "%s: %u reports", l->name, n - 1);
	CHECKF(access(path_of("socket"), F_OK) != 0, "%s: the socket is left", l->name);
	char *argv[] = { "rm", "-r", folder, NULL };
	run_program(&o, argv, NULL);
}

int main(int argc, char **argv)
{
	for (size_t i = 0; i < COUNT(all) && argc > 1 && getenv("FOLDER"); i++) {
		if (strcmp(argv[1], all[i].name))
			continue;
		watchdog(100);
		strcpy(folder, getenv("FOLDER"));
		leak_report = symbol("spangc_leak_report");
		all[i].act();
		exit(0);
	}
	for (size_t i = 0; i < COUNT(all); i++) {
		if (argc < 2 || !strcmp(argv[1], all[i].name))
			run(&all[i]);
	}
	return 0;
}
