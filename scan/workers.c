/* workers.c: see workers.h.
 *
 * Reached from mark.c. By clone(2) with the very flags of libc's own threads, which sandboxes know,
 * and not by libc's wrapper: a call that is reported (dispatch.h) may not be made with all signals blocked. The kernel clears the
 * word with the thread's id when the thread is gone, and wakes who waits for it.
 */
#include "scan/workers.h"

#include "core/knobs.h"
#include "core/os.h"
#include "scan/own.h"
#include "scan/regs.h"
#include "scan/regs_calls.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACK_BYTES KIB(64)
#define ALONE_MAX 8
#define END_TRIES 1000
#define CPU_MASK_BYTES 1024                     /* 8,192 processors */

static struct {
	char *stacks;                           /* WORKERS_MAX of them, never unmapped */
	void (*fn[WORKERS_MAX])(unsigned number);
	_Atomic uint32_t tid[WORKERS_MAX];      /* 0: none, or gone */
	bool (*start)(unsigned number, void (*fn)(unsigned number));
	void (*wait)(void);
} workers;

void workers_pretend(bool (*start)(unsigned number, void (*fn)(unsigned number)),
                     void (*wait)(void))
{
	workers.start = start;
	workers.wait = wait;
}

unsigned workers_processors(void)
{
	uint64_t mask[CPU_MASK_BYTES / sizeof(uint64_t)] = { 0 };
	unsigned n = 0;

	regs_syscall(SYS_sched_getaffinity, 0, sizeof mask, (long)mask, 0);
	for (size_t i = 0; i < sizeof mask / sizeof *mask; i++)
		n += bit_count(mask[i]);
	return n ? n : 1;
}

/* The fourth word, as 2/345: what runs or could. */
static unsigned count_runnable(const char *loadavg)
{
	unsigned nspaces = 0, n = 0;

	for (; *loadavg && nspaces < 3; loadavg++)
		nspaces += *loadavg == ' ';
	for (; *loadavg >= '0' && *loadavg <= '9'; loadavg++)
		n = n * 10 + (unsigned)(*loadavg - '0');
	return n;
}

bool workers_can_be_spared(void)
{
	char text[100] = "";
	long fd = regs_syscall(SYS_openat, AT_FDCWD, (long)"/proc/loadavg", O_RDONLY | O_CLOEXEC, 0);
	unsigned n;

	if (fd < 0)
		return false;
	regs_syscall(SYS_read, fd, (long)text, sizeof text - 1, 0);
	regs_syscall(SYS_close, fd, 0, 0, 0);
	n = count_runnable(text);
	return n && n <= workers_processors();
}

unsigned workers_wanted(enum workers_use use)
{
	unsigned n = knobs.gc_workers ? (unsigned)knobs.gc_workers : workers_processors();

	if (!knobs.gc_workers && use == WORKERS_BESIDE)
		n = n / 4 ? n / 4 : 1;
	else if (!knobs.gc_workers && n > ALONE_MAX)
		n = ALONE_MAX;
	return n < WORKERS_MAX ? n : WORKERS_MAX;
}

/* ctx: a thread without thread-locals of its own */
static int run(void *arg)
{
	unsigned number = (unsigned)(uintptr_t)arg;

	workers.fn[number](number);
	return 0;
}

/* Even those that sigmask_block() leaves open: a handler of the program's would find the wrong
 * thread-locals. */
static void block_all(uint64_t *saved)
{
	const uint64_t all = UINT64_MAX;

	regs_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)saved, sizeof all);
}

static void restore(const uint64_t *saved)
{
	regs_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (long)saved, 0, sizeof *saved);
}

static bool start(unsigned number)
{
	const unsigned long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD
	                            | CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID
	                            | CLONE_CHILD_CLEARTID;
	char *top = workers.stacks + (size_t)(number + 1) * STACK_BYTES;
	uint64_t saved = 0;

	block_all(&saved);

	long tid = regs_clone(flags, top, &workers.tid[number], run, (void *)(uintptr_t)number);

	restore(&saved);
	return tid > 0;
}

bool workers_start(unsigned number, void (*fn)(unsigned number))
{
	if (workers.start)
		return workers.start(number, fn);
	if (!workers.stacks) {
		workers.stacks = own_map(WORKERS_MAX * STACK_BYTES, "spangc workers");
		if (!workers.stacks)
			return false;
	}
	workers.fn[number] = fn;
	return start(number);
}

bool workers_has(int tid)
{
	for (unsigned i = 1; i < WORKERS_MAX; i++) {
		/* relaxed: the kernel keeps it for the time that the thread is there, and longer than
		 * workers_wait() lets others believe. */
		if (atomic_load_explicit(&workers.tid[i], memory_order_relaxed) == (uint32_t)tid)
			return true;
	}
	return false;
}

void workers_fork_child(void)
{
	/* relaxed: there is one thread. */
	for (unsigned i = 1; i < WORKERS_MAX; i++)
		atomic_store_explicit(&workers.tid[i], 0, memory_order_relaxed);
}

/* The word is cleared a moment before the thread is gone from /proc, where a stop would wait for its
 * answer. A number that is used again at once is not waited for for ever. */
static void await_end(uint32_t tid)
{
	for (unsigned tries = END_TRIES; tries; tries--) {
		if (regs_syscall(SYS_tgkill, getpid(), tid, 0, 0))
			return;
		regs_syscall(SYS_sched_yield, 0, 0, 0, 0);
	}
}

void workers_wait(void)
{
	if (workers.wait) {
		workers.wait();
		return;
	}
	for (unsigned i = 1; i < WORKERS_MAX; i++) {
		uint32_t tid, last = 0;

		/* acquire: the kernel clears it after all that the thread did. */
		while ((tid = atomic_load_explicit(&workers.tid[i], memory_order_acquire))) {
			regs_syscall(SYS_futex, (long)&workers.tid[i], FUTEX_WAIT, tid, 0);
			last = tid;
		}
		if (last)
			await_end(last);
	}
}

void workers_drop(void)
{
	if (workers.stacks)
		os_discard((uintptr_t)workers.stacks, WORKERS_MAX * STACK_BYTES);
}
