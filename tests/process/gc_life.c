/* gc_life.c: mode gc through the life of a process: blocks that nothing leads to go; children of fork
 * collect, those of vfork don't; calls that need one thread; the end of the first thread; where threads
 * can't be stopped nothing is lost, and where there is no /proc it is said in one line.
 *   leaks: it sets the mode itself
 *   timeout: 120
 */
#include "tests/process/process.h"

#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>

#include "preload/spangc.h"

#define NNODES 30000
#define NHIDDEN 3000
#define NTHREADS 8
#define GROWN_BLOCKS 4000000UL                  /* of 100 bytes */

struct node {
	struct node *next;
	uint64_t number;
	char rest[48];
};

static struct node *volatile kept;
static uintptr_t hidden[NHIDDEN];

static __attribute__((noinline)) void make_list(void)
{
	for (uint64_t i = 0; i < NNODES; i++) {
		struct node *n = malloc(sizeof *n);

		*n = (struct node){ kept, i, { 1 } };
		kept = n;
	}
}

static __attribute__((noinline)) void check_list(void)
{
	uint64_t want = NNODES;

	for (const struct node *n = kept; n; n = n->next)
		CHECKF(n->number == --want && n->rest[0] == 1, "node %u", (unsigned)want);
	CHECK(want == 0);
}

static __attribute__((noinline)) void lose(void)
{
	for (unsigned i = 0; i < NHIDDEN; i++)
		hidden[i] = ~(uintptr_t)malloc(100 + i % 400);
}

static __attribute__((noinline)) void wipe(void)
{
	char room[KIB(16)];

	memset(room, 0, sizeof room);
	hide(room);
}

static size_t collect(void)
{
	lose();
	wipe();
	return spangc_collect();
}

/* Less may go: words that look like addresses. The first cycle puts the next one off that comes by itself,
 * which would take what is looked for here. */
static void collects(void)
{
	spangc_collect();
	CHECK(collect() > NHIDDEN * 90);
	check_list();
}

/* --- what can happen to it --- */

static void await_child(pid_t child)
{
	int status;

	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	CHECKF(status == 0, "status %x", (unsigned)status);
}

static void grow(void)
{
	for (unsigned i = 0; i < GROWN_BLOCKS; i++)
		hide(malloc(100));
}

/* It gets a thread of its own when it needs one. */
static void forks_alone(void)
{
	pid_t child = fork();

	if (child == 0) {
		watchdog(100);
		CHECK(thread_count() == 1);
		collects();
		grow();
		CHECK(thread_count() >= 2);     /* there may be a helper, too */
		CHECK(rss_bytes() < GROWN_BLOCKS * 50);
		child = fork();
		if (child == 0) {
			collects();
			_exit(0);
		}
		await_child(child);
		collects();
		_exit(0);
	}
	await_child(child);
}

static void *wait_for_end(void *is_over)
{
	while (!*(_Atomic bool *)is_over)
		sleep_ms(1);
	return NULL;
}

static void *collect_there(void *arg)
{
	collect();
	return arg;
}

/* It does not, before it makes one itself. */
static void forks_among_others(void)
{
	_Atomic bool is_over = false;
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, wait_for_end, &is_over) == 0);
	for (unsigned i = 0; i < 10; i++) {
		pid_t child = fork();

		if (child == 0) {
			watchdog(100);
			collects();
			grow();
			CHECK(rss_bytes() < GROWN_BLOCKS * 50);
			CHECK(pthread_create(&thread, NULL, collect_there, NULL) == 0);
			CHECK(pthread_join(thread, NULL) == 0);
			collects();
			_exit(0);
		}
		await_child(child);
	}
	is_over = true;
	CHECK(pthread_join(thread, NULL) == 0);
}

static void vforks(void)
{
	pid_t child = vfork();

	if (child == 0)
		_exit(spangc_collect() != 0);
	await_child(child);
	collects();
}

static void needs_one_thread(void)
{
	pid_t child = fork();

	if (child == 0) {
		collects();
		CHECK(pthread_create(&(pthread_t){ 0 }, NULL, collect_there, NULL) == 0);
		if (unshare(CLONE_NEWUSER) && errno == EINVAL)
			_exit(1);
		collects();
		_exit(0);
	}
	await_child(child);
}

static void *lose_and_collect(void *arg)
{
	for (unsigned i = 0; i < 10; i++) {
		for (unsigned k = 0; k < 1000; k++)
			hide(malloc(50 + k % 100));
		spangc_collect();
		check_list();
	}
	return arg;
}

static void many_at_once(void)
{
	pthread_t thread[NTHREADS];

	for (unsigned i = 0; i < NTHREADS; i++)
		CHECK(pthread_create(&thread[i], NULL, lose_and_collect, NULL) == 0);
	for (unsigned i = 0; i < NTHREADS; i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
	collects();
}

static void on_signal(int signo)
{
	(void)signo;
	spangc_collect();
}

static void from_a_handler(void)
{
	signal(SIGUSR1, on_signal);
	raise(SIGUSR1);
	check_list();
}

static int collect_often(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)info;
	(void)size;
	(void)arg;
	for (unsigned i = 0; i < 10; i++)
		spangc_collect();
	return 1;
}

/* Which has a lock of the loader's, that the thread that collects may want after a cycle. */
static void from_a_callback(void)
{
	dl_iterate_phdr(collect_often, NULL);
	check_list();
}

static void *end_last(void *first)
{
	CHECK(pthread_join(*(pthread_t *)first, NULL) == 0);
	collects();
	return NULL;
}

/* The thread that ends last is the program's: exit() is called, with status 0. */
static void first_thread_ends(void)
{
	pid_t child = fork();

	if (child == 0) {
		static pthread_t self;
		pthread_t thread;

		watchdog(100);
		self = pthread_self();
		CHECK(pthread_create(&thread, NULL, end_last, &self) == 0);
		pthread_exit(NULL);
	}
	await_child(child);
}

static void *spin(void *is_over)
{
	while (!*(_Atomic bool *)is_over)
		hide(is_over);
	return NULL;
}

static void cant_be_stopped(void)
{
	pid_t child = fork();

	if (child == 0) {
		const struct rlimit none = { 0 };
		_Atomic bool is_over = false;
		pthread_t thread;

		watchdog(100);
		CHECK(pthread_create(&thread, NULL, spin, &is_over) == 0);
		CHECK(setrlimit(RLIMIT_SIGPENDING, &none) == 0);
		CHECK(collect() == 0);
		check_list();
		is_over = true;
		CHECK(pthread_join(thread, NULL) == 0);
		_exit(0);
	}
	await_child(child);
}

/* What its queues hold can't be seen. */
static void uses_uring(void)
{
	char parameters[120] = { 0 };
	int fd = (int)syscall(SYS_io_uring_setup, 4, parameters);
	void *ring;

	if (fd < 0)
		return;
	CHECK(collect() == 0);                  /* they may be in memory of the program's own */
	ring = mmap(NULL, KIB(4), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(ring != MAP_FAILED);
	CHECK(collect() == 0);
	CHECK(munmap(ring, KIB(4)) == 0 && close(fd) == 0);
	collects();
}

/* As if a pointer to it were somewhere, and a pointer in it led somewhere. */
static __attribute__((noinline)) uintptr_t ignore(void)
{
	uintptr_t *p = malloc(100);

	p[0] = (uintptr_t)memset(malloc(200), 1, 200);
	spangc_ignore(p);
	return ~(uintptr_t)p;
}

static void ignored(void)
{
	uintptr_t hidden_one = ignore();

	collects();
	collects();
	CHECK(((char **)~hidden_one)[0][199] == 1);
	free(((char **)~hidden_one)[0]);        /* not reclaimed */
	free((void *)~hidden_one);
}

static void hide_proc(void)
{
	if ((unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS))
	    || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || umount2("/proc", MNT_DETACH))
		_exit(77);
}

static void without_proc(void)
{
	char program[PATH_MAX] = "", *argv[] = { program, "without", NULL };
	struct outcome o;

	CHECK(readlink("/proc/self/exe", program, sizeof program - 1) > 0);
	setenv("SPANGC_GC_FREE", "ignore", 1);
	run_program(&o, argv, hide_proc);
	unsetenv("SPANGC_GC_FREE");
	if (WIFEXITED(o.status) && WEXITSTATUS(o.status) == 77)
		return;
	CHECKF(o.status == 0 && o.nlines == 1 && strstr(o.err, "nothing is collected"), "%s", o.err);
}

/* free() is heard, in spite of the setting: nobody else gives memory back. */
static int be_without(void)
{
	void *p = malloc(1000);

	CHECK(spangc_collect() == 0);
	free(p);
	CHECK(malloc(1000) == p);
	return 0;
}

int main(int argc, char **argv)
{
	struct outcome o;

	if (!preloaded_library())
		SKIP("runs with the library only");
	watchdog(100);
	if (argc == 1) {
		setenv("SPANGC_MODE", "gc", 1);
		setenv("SPANGC_VERIFY", "1", 1);
		run_self(&o, "collecting", NULL);
		fputs(o.err, stderr);
		return o.status != 0;
	}
	if (strcmp(argv[1], "without") == 0)
		return be_without();
	make_list();
	collects();
	forks_alone();
	forks_among_others();
	vforks();
	needs_one_thread();
	many_at_once();
	from_a_handler();
	from_a_callback();
	first_thread_ends();
	cant_be_stopped();
	uses_uring();
	ignored();
	without_proc();
	return 0;
}
