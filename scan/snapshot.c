/* snapshot.c: see snapshot.h.
 *
 * Reached from preload/reports.c and, in the copy, from what reports. Depends on threads.h, kernel.h and
 * report_file.h.
 *
 * A clone(2) with neither CLONE_VM nor a signal for its end is a process that wait() and SIGCHLD don't
 * tell of. No handler of pthread_atfork() runs. It is its own master: if the program dies, it still
 * writes its report, and a clock sees to it that it ends.
 *
 * A copy that lacks memory of the process (MADV_DONTFORK: V8's heap, for one) would report what only
 * that points to: it is refused.
 *
 *     results.is_resumed    0 until the program runs on, then 1; the copy waits for it where it
 *                           wants to tell how long that took
 */
#include "scan/snapshot.h"

#include "core/os.h"
#include "core/report.h"
#include "core/report_file.h"
#include "scan/kernel.h"
#include "scan/modules.h"
#include "scan/peek.h"
#include "scan/regs.h"
#include "scan/roots.h"
#include "scan/threads.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAREAS 16
#define LIFE_SECONDS 300                        /* of a copy */
#define RESUME_SECONDS 2                        /* until the program runs on */
#define FIRST_FD 3                              /* behind the standard streams */

/* Shared with the copy. */
struct results {
	_Atomic uint32_t is_resumed;
	_Atomic uint32_t is_done;

	/* The process, before is_resumed. */
	struct snapshot_pause pause;

	/* The copy, before is_done. */
	bool is_partial;                        /* memory of the process is not in the copy */
	uint64_t value;
	uint32_t report_number;
};

static struct {
	/* Constant after snapshot_start(). */
	struct results *results;                /* NULL: no copies are made */

	/* Constant in each process. */
	bool is_copy;

	/* The process; the copy reads it. */
	uint64_t data_pages;

	/* The process that has no copy under way. */
	struct area {
		void *p;
		size_t nbytes;
	} areas[NAREAS];
	unsigned nareas;
} snapshot;

bool snapshot_is_copy(void)
{
	return snapshot.is_copy;
}

void *snapshot_shared(size_t nbytes)
{
	size_t size = align_up(nbytes, OS_PAGE_BYTES);
	void *p = snapshot.nareas < NAREAS ? os_map_shared(size) : NULL;

	if (!p)
		return NULL;
	roots_exclude((uintptr_t)p, (uintptr_t)p + size);
	snapshot.areas[snapshot.nareas++] = (struct area){ p, size };
	return p;
}

bool snapshot_start(void)
{
	if (!snapshot.results)
		snapshot.results = snapshot_shared(sizeof *snapshot.results);
	return snapshot.results;
}

void snapshot_fork_child(void)
{
	for (unsigned i = 0; i < snapshot.nareas; i++)
		check(!os_renew_shared((uintptr_t)snapshot.areas[i].p, snapshot.areas[i].nbytes));
}

/* "size resident shared text lib data dt", in pages. */
static bool see_statm(char *line, void *arg)
{
	for (unsigned field = 0; field < 5; field++) {
		line += strcspn(line, " ");
		line += *line == ' ';
	}
	for (; *line >= '0' && *line <= '9'; line++)
		*(uint64_t *)arg = *(uint64_t *)arg * 10 + (uint64_t)(*line - '0');
	return false;
}

/* Private memory that may be written. What MADV_DONTFORK keeps from children is not counted there. */
static uint64_t data_pages(void)
{
	uint64_t n = 0;

	peek_lines("/proc/thread-self/statm", see_statm, &n);
	return n;
}

/* --- in the copy --- */

static long call(long number, long a, long b, long c, long d)
{
	return regs_syscall(number, a, b, c, d);
}

/* The program's handlers are not for us; the kernel's own take an end that we did not plan. */
static void drop_handlers(void)
{
	const uint64_t none[4] = { 0 };         /* SIG_DFL, no flags, no mask */

	for (int signo = 1; signo <= SIGRTMAX; signo++)
		call(SYS_rt_sigaction, signo, (long)none, 0, sizeof none[0]);
}

/* An end for what has gone wrong: no core, and not for ever. */
static void limit_life(void)
{
	const struct itimerval life = { .it_value = { .tv_sec = LIFE_SECONDS } };
	const struct rlimit no_core = { 0 };
	const uint64_t alarm = UINT64_C(1) << (SIGALRM - 1);

	call(SYS_prlimit64, 0, RLIMIT_CORE, (long)&no_core, 0);
	call(SYS_setitimer, ITIMER_REAL, (long)&life, 0, 0);
	call(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&alarm, 0, sizeof alarm);
}

/* If memory runs out, better the copy than the program. */
static void offer_to_oom_killer(void)
{
	int fd = (int)call(SYS_openat, AT_FDCWD, (long)"/proc/thread-self/oom_score_adj",
	                   O_WRONLY | O_CLOEXEC, 0);

	if (fd >= 0) {
		call(SYS_write, fd, (long)"1000", 4, 0);
		call(SYS_close, fd, 0, 0, 0);
	}
}

static bool is_needed(int fd, const struct snapshot *s)
{
	return fd == s->fds[0] || fd == s->fds[1];
}

static void close_unneeded(unsigned fd, void *s)
{
	if (fd >= FIRST_FD && !is_needed((int)fd, s))
		call(SYS_close, (long)fd, 0, 0, 0);
}

/* [from, to] */
static void close_range_of(unsigned from, unsigned to, struct snapshot *s)
{
	if (from <= to && call(SYS_close_range, from, to, 0, 0))
		peek_numbers("/proc/thread-self/fd", close_unneeded, s);
}

/* The standard streams lead nowhere, but are not free for other files. */
static void close_stream(int fd, int null)
{
	if (null >= 0 && null != fd)
		call(SYS_dup3, null, fd, 0, 0);
	else if (null < 0)
		call(SYS_close, fd, 0, 0, 0);
}

/* What the program closes is closed: nobody waits for the end of a connection that we keep. */
static void close_files(struct snapshot *s)
{
	int low = s->fds[0] < s->fds[1] ? s->fds[0] : s->fds[1];
	int high = low == s->fds[0] ? s->fds[1] : s->fds[0];
	unsigned from = FIRST_FD;

	if (low >= FIRST_FD) {
		close_range_of(from, (unsigned)low - 1, s);
		from = (unsigned)low + 1;
	}
	if (high >= (int)from) {
		close_range_of(from, (unsigned)high - 1, s);
		from = (unsigned)high + 1;
	}
	close_range_of(from, UINT_MAX, s);

	int null = (int)call(SYS_openat, AT_FDCWD, (long)"/dev/null", O_RDWR, 0);

	for (int fd = 0; fd < FIRST_FD; fd++) {
		if (!is_needed(fd, s))
			close_stream(fd, null);
	}
	if (null >= FIRST_FD)
		call(SYS_close, null, 0, 0, 0);
}

static _Noreturn void end_copy(void)
{
	/* release: pairs with the acquire in take_results(). */
	atomic_store_explicit(&snapshot.results->is_done, 1, memory_order_release);
	for (;;)
		call(SYS_exit_group, 0, 0, 0, 0);
}

static _Noreturn void be_copy(struct snapshot *s)
{
	struct results *r = snapshot.results;

	snapshot.is_copy = true;
	r->is_partial = data_pages() < snapshot.data_pages;
	if (r->is_partial)
		end_copy();
	report_file_set_pid(s->pid);
	drop_handlers();
	limit_life();
	kernel_keep_rest();
	close_files(s);
	offer_to_oom_killer();
	r->value = s->fn(s->arg);
	r->report_number = report_file_number();
	end_copy();
}

struct snapshot_pause snapshot_pause(void)
{
	const struct timespec longest = { .tv_sec = RESUME_SECONDS };
	struct results *r = snapshot.results;

	/* acquire: pairs with the release in resume(). No FUTEX_PRIVATE: two processes. */
	if (!atomic_load_explicit(&r->is_resumed, memory_order_acquire))
		call(SYS_futex, (long)&r->is_resumed, FUTEX_WAIT, 0, (long)&longest);
	/* acquire: the same. If it is still not there, the figure is 0. */
	(void)atomic_load_explicit(&r->is_resumed, memory_order_acquire);
	return r->pause;
}

/* --- in the process --- */

static void resume(uint64_t began_ns, uint64_t stopped_ns, uint64_t copied_ns)
{
	struct results *r = snapshot.results;

	scan_resume();
	r->pause = (struct snapshot_pause){
		.stop_ns = stopped_ns - began_ns, .copy_ns = copied_ns - stopped_ns,
		.all_ns = os_now_ns() - began_ns,
	};
	/* release: pairs with the acquire in snapshot_pause(). */
	atomic_store_explicit(&r->is_resumed, 1, memory_order_release);
	call(SYS_futex, (long)&r->is_resumed, FUTEX_WAKE, 1, 0);
}

/* A copy, or the negative of an errno value. */
static long make_copy(struct snapshot *s)
{
	if (!kernel_look())
		return -ENOMEM;
	modules_note();

	uint64_t began_ns = os_now_ns();

	s->pid = (uint64_t)getpid();
	if (!scan_stop())
		return -EAGAIN;
	kernel_keep();
	snapshot.data_pages = data_pages();

	uint64_t stopped_ns = os_now_ns();
	bool is_prepared = !s->prepare || s->prepare(s->arg);
	long child = is_prepared ? call(SYS_clone, 0, 0, 0, 0) : -ECANCELED;

	if (child == 0)
		be_copy(s);
	resume(began_ns, stopped_ns, os_now_ns());
	kernel_forget();
	return child;
}

static enum snapshot_end take_results(struct snapshot *s, long child)
{
	const struct results *r = snapshot.results;
	int status = 0;

	while (call(SYS_wait4, child, (long)&status, (long)__WCLONE, 0) == -EINTR)
		;
	/* acquire: pairs with the release in be_copy(). */
	if (!atomic_load_explicit(&r->is_done, memory_order_acquire)) {
		s->signo = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
		return SNAPSHOT_DIED;
	}
	if (r->is_partial) {
		s->error = ENODATA;
		return SNAPSHOT_REFUSED;
	}
	s->result = r->value;
	report_file_set_number(r->report_number);
	return SNAPSHOT_DONE;
}

enum snapshot_end snapshot_run(struct snapshot *s)
{
	struct results *r = snapshot.results;

	if (!r) {
		s->error = ENOMEM;
		return SNAPSHOT_REFUSED;
	}
	r->pause = (struct snapshot_pause){ 0 };
	r->is_partial = false;
	/* relaxed: there is no copy yet, and clone() orders it. */
	atomic_store_explicit(&r->is_resumed, 0, memory_order_relaxed);
	atomic_store_explicit(&r->is_done, 0, memory_order_relaxed);

	long child = make_copy(s);

	if (child > 0)
		return take_results(s, child);
	s->error = (int)-child;
	return SNAPSHOT_REFUSED;
}
