/* threads.c: stopping threads: see threads.h.
 *
 * Reached from the leak finder and the collector (stop, resume) and from the kernel (the signal).
 * Depends on regs.h, regs_calls.h, cuts.h and peek.h; what is known of stopped threads is in world.h, for
 * thread_stacks.c. LOCK_WORLD: one stop at a time.
 *
 *     world.generation  even: the program runs; odd: a stop, which ends by the next even number
 *
 * The handler looks itself up by its thread id, for a raw clone may share its creator's thread
 * pointer: it touches no thread-local. It waits only for the generation that it saw, and nobody
 * waits for it to leave: a thread that is still in the handler of an earlier stop leaves it and
 * finds the next signal pending.
 *
 * Invariants:
 *   T1  records are never unmapped; a record in a bucket is complete (release in know_task());
 *   T2  between scan_stop() and scan_resume() every task of /proc/self/task is stopped, gone, the
 *       caller, or counted in nmissed (tests/race/stop.c).
 */
#include "scan/world.h"

#include "core/os.h"
#include "core/sigmask.h"
#include "scan/cuts.h"
#include "scan/maps.h"
#include "scan/own.h"
#include "scan/peek.h"
#include "scan/regs.h"
#include "scan/regs_calls.h"
#include "scan/workers.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SIGNAL_BELOW_LAST 4                     /* SIGRTMAX less this: 60 */
#define ASK_TRIES 1000
#define WAIT_NS 1000000                         /* for another thread's stop */
#define LOOK_NS 5000000                         /* without an answer: is everybody still there? */
#define DEAF_NS 100000000                       /* a thread asleep that blocks the signal runs on */
#define PATIENCE_NS UINT64_C(2000000000)        /* any other one as well */

struct world world = { .lock = LOCK_INIT(LOCK_WORLD) };

_Thread_local unsigned world_nown_leaving;      /* of world.nleaving, the calling thread's */

int scan_threads_signal(void)
{
	return SIGRTMAX - SIGNAL_BELOW_LAST;
}

bool scan_threads_is_on(void)
{
	/* relaxed: set while there is one thread. */
	return atomic_load_explicit(&world.is_on, memory_order_relaxed);
}

struct scan_stop_info scan_stop_info(void)
{
	return world.info;
}

/* The handler interrupts ThreadSanitizer's own code as well. */
#define NO_TSAN __attribute__((no_sanitize("thread")))

NO_TSAN static void futex_wait(_Atomic uint32_t *word, uint32_t value, const struct timespec *longest)
{
	regs_syscall(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, value, (long)longest);
}

NO_TSAN static void futex_wake_all(_Atomic uint32_t *word)
{
	regs_syscall(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, INT_MAX, 0);
}

NO_TSAN struct task *world_find_task(int tid)
{
	/* acquire: pairs with the release in know_task(). */
	struct task *t = atomic_load_explicit(&world.bucket[tid % WORLD_BUCKETS], memory_order_acquire);

	/* relaxed: a late signal may read a record that is in use for another task by now. */
	while (t && atomic_load_explicit(&t->tid, memory_order_relaxed) != tid)
		t = atomic_load_explicit(&t->next_in_bucket, memory_order_acquire);
	return t;
}

NO_TSAN static void wait_for_resume(struct task *t, uint32_t generation, const void *context)
{
	t->context = context;
	t->thread_pointer = (uintptr_t)__builtin_thread_pointer();
	/* release, both: the context, and all that this thread did. Pairs with the acquire in
	 * world_has_answered() and await_answers(). */
	atomic_store_explicit(&t->answered, generation, memory_order_release);
	uint32_t n = atomic_fetch_add_explicit(&world.nanswered, 1, memory_order_release) + 1;

	/* relaxed: an older value is smaller and wakes once too often. */
	if (n >= atomic_load_explicit(&world.nasked, memory_order_relaxed))
		futex_wake_all(&world.nanswered);
	/* acquire: what was done meanwhile. Pairs with the release in scan_resume(). */
	while (atomic_load_explicit(&world.generation, memory_order_acquire) == generation)
		futex_wait(&world.generation, generation, NULL);
}

/* ctx: signal, on any stack; errno and thread-locals may be another thread's */
NO_TSAN static void stop_here(int signo, siginfo_t *info, void *context)
{
	/* acquire: pairs with the release in begin_stop(). */
	uint32_t generation = atomic_load_explicit(&world.generation, memory_order_acquire);
	int tid = (int)regs_syscall(SYS_gettid, 0, 0, 0, 0);
	struct task *t = generation & 1 ? world_find_task(tid) : NULL;

	(void)info;
	/* Else it is late, or not ours. relaxed: its own word. */
	if (t && atomic_load_explicit(&t->answered, memory_order_relaxed) != generation)
		wait_for_resume(t, generation, context);

	/* relaxed: set in a stop, which this thread has left. */
	void (*leave)(void *, int) = atomic_load_explicit(&world.leave, memory_order_relaxed);

	if (leave)
		leave(context, tid);
	cuts_note(tid, signo, context);
}

/* A fresh record in the chunks; NULL: no memory. */
static struct task *next_task(void)
{
	unsigned i = world.ntasks % TASK_CHUNK_RECORDS;

	if (i == 0) {
		struct task_chunk **next = world.ntasks ? &world.chunk->next : &world.chunks;

		if (!*next)
			*next = own_map(align_up(sizeof **next, OS_PAGE_BYTES),
			                "spangc threads");
		if (!*next)
			return NULL;
		world.chunk = *next;
	}
	world.ntasks++;
	return &world.chunk->task[i];
}

static struct task *know_task(int tid)
{
	struct task *t = next_task();
	struct task *_Atomic *bucket = &world.bucket[tid % WORLD_BUCKETS];

	if (!t)
		return NULL;
	t->context = NULL;
	t->is_gone = false;
	/* relaxed: LOCK_WORLD is held, and the release below publishes them. */
	atomic_store_explicit(&t->tid, tid, memory_order_relaxed);
	atomic_store_explicit(&t->answered, 0, memory_order_relaxed);
	atomic_store_explicit(&t->next_in_bucket,
	                      atomic_load_explicit(bucket, memory_order_relaxed),
	                      memory_order_relaxed);
	/* release: pairs with the acquire in world_find_task(). */
	atomic_store_explicit(bucket, t, memory_order_release);
	return t;
}

bool world_has_answered(const struct task *t)
{
	/* acquire: pairs with the release in stop_here(). relaxed: only the holder of the lock
	 * changes the generation. */
	return atomic_load_explicit(&t->answered, memory_order_acquire)
	       == atomic_load_explicit(&world.generation, memory_order_relaxed);
}

void world_visit_tasks(void (*fn)(struct task *t, void *arg), void *arg)
{
	unsigned n = 0;

	for (struct task_chunk *c = world.chunks; c && n < world.ntasks; c = c->next) {
		for (unsigned i = 0; i < TASK_CHUNK_RECORDS && n < world.ntasks; i++, n++)
			fn(&c->task[i], arg);
	}
}

static long signal_task(int tid, int signo)
{
	return regs_syscall(SYS_tgkill, getpid(), tid, signo, 0);
}

static void note_gone(struct task *t)
{
	t->is_gone = true;
	world.ngone++;
}

/* EAGAIN: no room for one more pending signal (RLIMIT_SIGPENDING); others are taken meanwhile. A thread
 * that is there and can't be asked would run on, unseen: then there is no stop. */
static void ask(unsigned number, void *arg)
{
	int tid = (int)number;
	long error = 0;

	(void)arg;
	if (tid == world.self)
		world.has_self = true;
	if (tid == world.self || world.is_refused || workers_has(tid) || world_find_task(tid))
		return;

	struct task *t = know_task(tid);

	if (!t) {
		world.is_short = true;
		return;
	}
	world.has_new = true;
	/* relaxed: see stop_here(). */
	atomic_store_explicit(&world.nasked, world.ntasks - world.ngone, memory_order_relaxed);
	for (unsigned tries = ASK_TRIES; tries; tries--) {
		error = signal_task(tid, scan_threads_signal());
		if (error != -EAGAIN)
			break;
		regs_syscall(SYS_sched_yield, 0, 0, 0, 0);
	}
	if (error)
		note_gone(t);
	if (error && error != -ESRCH)
		world.is_refused = true;
}

struct status {
	char state;
	uint64_t blocked;                       /* signals */
};

static bool see_status(char *line, void *arg)
{
	struct status *s = arg;
	const char *value = line + strlen("SigBlk:\t");

	if (strncmp(line, "State:\t", 7) == 0)
		s->state = line[7];
	if (strncmp(line, "SigBlk:\t", 8) != 0)
		return true;
	s->blocked = maps_hex(&value);
	return false;
}

static void read_status(int tid, struct status *s)
{
	char path[64], *end = path;

	*s = (struct status){ .state = 'X' };
	peek_put(&end, "/proc/self/task/");
	peek_put_number(&end, (unsigned)tid);
	peek_put(&end, "/status");
	peek_lines(path, see_status, s);
}

/* A thread that left for good answers no signal; the leader of the process stays as a zombie. One
 * that blocks the signal may do so for a moment: our own code does, and libc's. Unless it sleeps it may be
 * in the midst of it, holding our locks, and is waited for as long as any other. */
static void look_at(struct task *t, void *arg)
{
	int tid = atomic_load_explicit(&t->tid, memory_order_relaxed);   /* LOCK_WORLD */
	struct status status;

	(void)arg;
	if (t->is_gone || world_has_answered(t))
		return;
	read_status(tid, &status);
	if (status.state == 'Z' || status.state == 'X' || signal_task(tid, 0) == -ESRCH)
		note_gone(t);
	else
		world.ndeaf += status.state == 'S'
		               && (status.blocked >> (scan_threads_signal() - 1) & 1);
}

/* Who has not answered for so long will not. */
static bool is_hopeless(uint64_t ns, uint32_t nanswered)
{
	world.ndeaf = 0;
	world_visit_tasks(look_at, NULL);
	return ns > PATIENCE_NS
	       || (ns > DEAF_NS && nanswered + world.ngone + world.ndeaf >= world.ntasks);
}

/* Everybody who was asked has answered, is gone, or was given enough time. */
static void await_answers(void)
{
	const struct timespec longest = { .tv_nsec = LOOK_NS };
	uint64_t progress_ns = os_now_ns();

	for (;;) {
		/* acquire: pairs with the release in stop_here(). */
		uint32_t n = atomic_load_explicit(&world.nanswered, memory_order_acquire);

		if (n + world.ngone >= world.ntasks)
			return;
		futex_wait(&world.nanswered, n, &longest);

		uint64_t now_ns = os_now_ns();

		/* relaxed: looked at again above. */
		if (atomic_load_explicit(&world.nanswered, memory_order_relaxed) != n)
			progress_ns = now_ns;
		else if (now_ns - progress_ns > LOOK_NS && is_hopeless(now_ns - progress_ns, n))
			return;
	}
}

/* With signals blocked, so that no handler of the program's wants to stop the world while this
 * thread does; but not while it waits, for another one stops this thread then. */
static void take_world(void)
{
	for (;;) {
		struct sigmask saved;

		sigmask_block(&saved);
		if (lock_try(&world.lock)) {
			world.saved = saved;
			return;
		}
		sigmask_restore(&saved);
		os_nap_ns(WAIT_NS);             /* no place where a thread is cancelled, as usleep() is */
	}
}

static void leave_world(void)
{
	struct sigmask saved = world.saved;

	lock_drop(&world.lock);
	sigmask_restore(&saved);
}

void world_on_leave(void (*leave)(void *context, int tid))
{
	/* relaxed: see stop_here(). */
	atomic_store_explicit(&world.leave, leave, memory_order_relaxed);
}

/* Again at each stop: programs set all signals to their defaults by signal(), which is not wrapped.
 * libc's own two signals are blocked as well, which sigfillset() leaves out: a thread that is cancelled
 * does not unwind its stack while the world is stopped. */
bool world_install(void)
{
	return !regs_catch(scan_threads_signal(), stop_here, SA_RESTART | SA_ONSTACK, UINT64_MAX);
}

static void begin_stop(void)
{
	/* relaxed, all: LOCK_WORLD. A late handler of an earlier stop finds its way to the end of
	 * some bucket, for records are never unmapped. */
	for (unsigned i = 0; i < WORLD_BUCKETS; i++)
		atomic_store_explicit(&world.bucket[i], NULL, memory_order_relaxed);
	atomic_store_explicit(&world.nanswered, 0, memory_order_relaxed);
	atomic_store_explicit(&world.nasked, 0, memory_order_relaxed);
	world.ntasks = world.ngone = 0;
	world.is_short = world.has_self = world.is_refused = false;
	world.self = (int)regs_syscall(SYS_gettid, 0, 0, 0, 0);
	world.pid = getpid();
	world.began_ns = os_now_ns();
	/* release: pairs with the acquire in stop_here(). */
	atomic_fetch_add_explicit(&world.generation, 1, memory_order_release);
}

static void end_stop(void)
{
	/* release: pairs with the acquire in stop_here(). */
	atomic_fetch_add_explicit(&world.generation, 1, memory_order_release);
	futex_wake_all(&world.generation);
}

static void note_missed(struct task *t, void *arg)
{
	bool answered = world_has_answered(t);

	(void)arg;
	world.info.nthreads += answered;
	world.info.nmissed += !answered && !t->is_gone;
}

/* Threads that start while others are being asked show up in the next look. */
static bool stop_others(void)
{
	do {
		world.has_new = false;
		if (!peek_numbers("/proc/self/task", ask, NULL) || !world.has_self
		    || world.is_refused)
			return false;
		if (world.has_new)
			await_answers();
	} while (world.has_new && !world.is_short);
	world.info = (struct scan_stop_info){ .ns = os_now_ns() - world.began_ns };
	world_visit_tasks(note_missed, NULL);
	world.info.nmissed += world.is_short;   /* at least one: there was no memory to ask it */
	return true;
}

/* A thread that is on it has left its own at `frame`. */
static struct {
	/* Constant after scan_threads_own_stack(). */
	uintptr_t base, limit;

	uintptr_t frame;                        /* the thread that is on it */
} own_stack;

uintptr_t *scan_threads_own_stack(uintptr_t base, uintptr_t limit)
{
	own_stack.base = base;
	own_stack.limit = limit;
	return &own_stack.frame;
}

static uintptr_t programs_frame(uintptr_t frame)
{
	return frame >= own_stack.base && frame < own_stack.limit ? own_stack.frame : frame;
}

/* The registers of a thread that left its own stack are there, and what it holds now is ours. */
static void note_self(uintptr_t frame, const uintptr_t registers[])
{
	world.self_frame = programs_frame(frame);
	if (world.self_frame == frame)
		memcpy(world.self_registers, registers, sizeof world.self_registers);
	else
		memset(world.self_registers, 0, sizeof world.self_registers);
}

__attribute__((noinline)) bool scan_stop(void)
{
	uintptr_t registers[REGS_NSAVED];

	regs_save(registers);
	if (!scan_threads_is_on())
		return false;
	take_world();
	note_self((uintptr_t)__builtin_frame_address(0), registers);
	begin_stop();
	if (!world.nleaving && world_install() && stop_others())
		return true;
	end_stop();
	leave_world();
	return false;
}

static bool is_home(void)
{
	return scan_threads_is_on() && world.home == getpid();
}

/* Every stop so far is over; what it sent to this thread, if that was too late to answer, is taken. */
void scan_threads_leave(void)
{
	const uint64_t signal = UINT64_C(1) << (scan_threads_signal() - 1);
	const struct timespec at_once = { 0 };

	if (!is_home())
		return;
	take_world();
	world.nleaving++;
	world_nown_leaving++;
	regs_syscall(SYS_rt_sigtimedwait, (long)&signal, 0, (long)&at_once, sizeof signal);
	leave_world();
}

static void stay(bool all)
{
	if (!is_home())
		return;
	take_world();

	/* A handler may have come back with all of them before: none is left then. */
	unsigned n = all || !world_nown_leaving ? world_nown_leaving : 1;

	world.nleaving -= n;
	world_nown_leaving -= n;
	leave_world();
}

void scan_threads_stay(void)
{
	stay(false);
}

void scan_threads_stay_all(void)
{
	stay(true);
}

void scan_resume(void)
{
	check(lock_held(&world.lock));
	end_stop();
	leave_world();
}
