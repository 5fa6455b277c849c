/* threads.c: see threads.h.
 *
 * Reached from the leak finder and the collector (stop, visit, resume), from preload (a thread of
 * libc's begins) and from the kernel (the signal). Depends on regs.h and peek.h. LOCK_WORLD: one
 * stop at a time.
 *
 *     world.generation  even: the program runs; odd: a stop, which ends by the next even number
 *
 * The handler looks itself up by its thread id, for a raw clone may share its creator's thread
 * pointer: it touches no thread-local. It waits only for the generation that it saw, and nobody
 * waits for it to leave: a thread that is still in the handler of an earlier stop leaves it and
 * finds the next signal pending.
 *
 * Invariants:
 *   T1  records are never unmapped; a record in a bucket is complete (release in know_thread());
 *   T2  between scan_stop() and scan_resume() every task of /proc/self/task is stopped, gone, the
 *       caller, or counted in nmissed (tests/race/stop.c).
 */
#include "scan/threads.h"

#include "core/lock.h"
#include "core/meta.h"
#include "core/os.h"
#include "core/sigmask.h"
#include "scan/cuts.h"
#include "scan/maps.h"
#include "scan/peek.h"
#include "scan/regs.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

/* libc's other name: preload has the usual one. */
extern int __sigaction(int signo, const struct sigaction *new, struct sigaction *old);

/* The loader's: from here on the first thread's stack is the kernel's: arguments and environment, where
 * the program may have put pointers of its own. */
extern void *__libc_stack_end;

#define SIGNAL_BELOW_LAST 4                     /* SIGRTMAX less this: 60 */
#define NBUCKETS 1024
#define CHUNK_RECORDS 128
#define ASK_TRIES 1000
#define LOOK_NS 5000000                         /* without an answer: is everybody still there? */
#define DEAF_NS 100000000                       /* a thread that blocks the signal runs on */
#define PATIENCE_NS UINT64_C(2000000000)        /* any other one as well */
#define MAIN_STACK_BYTES MIB(128)               /* the kernel leaves at least this below it */

/* One task during a stop. Records are reused from stop to stop. */
struct task {
	struct task *_Atomic next_in_bucket;
	_Atomic int tid;
	_Atomic uint32_t answered;              /* the generation */

	/* Written by the task before it answers; of the caller by scan_stop(). */
	const ucontext_t *context;

	/* LOCK_WORLD. */
	bool is_gone;
};

struct task_chunk {
	struct task_chunk *next;
	struct task task[CHUNK_RECORDS];
};

enum record_state { RECORD_FREE, RECORD_PLANNED, RECORD_BEGUN };

/* What is known of a thread of libc's, until another one has its stack. */
struct scan_thread {
	struct scan_thread *next;               /* constant */
	_Atomic uint32_t state;                 /* enum record_state */
	_Atomic int tid;

	/* The creator until the thread begins, then the thread; stable while the world is stopped. */
	void *(*start)(void *);
	void *arg;
	uintptr_t base, limit;
	uintptr_t libc_record;                  /* pthread_self() */

	/* LOCK_WORLD. */
	bool is_in_use;                         /* the live part was shown, in this visit */
};

static struct {
	struct lock lock;

	/* The lock. */
	struct task_chunk *chunks, *chunk;
	unsigned ntasks;                        /* in use, of all chunks */
	unsigned ngone, ndeaf;
	struct sigmask saved;
	uint64_t began_ns;
	struct scan_stop_info info;
	int self, pid;
	uintptr_t self_frame, self_registers[REGS_NSAVED];
	bool has_new, is_short;                 /* of the last look at /proc/self/task */

	/* Any thread, atomic. */
	_Atomic bool is_on;
	_Atomic uint32_t generation;
	_Atomic uint32_t nanswered;             /* in this stop */
	_Atomic uint32_t nasked;
	struct task *_Atomic bucket[NBUCKETS];
	struct scan_thread *_Atomic records;    /* all ever made */
} world = { .lock = LOCK_INIT(LOCK_WORLD) };

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

NO_TSAN static struct task *find_task(int tid)
{
	/* acquire: pairs with the release in know_task(). */
	struct task *t = atomic_load_explicit(&world.bucket[tid % NBUCKETS], memory_order_acquire);

	/* relaxed: a late signal may read a record that is in use for another task by now. */
	while (t && atomic_load_explicit(&t->tid, memory_order_relaxed) != tid)
		t = atomic_load_explicit(&t->next_in_bucket, memory_order_acquire);
	return t;
}

NO_TSAN static void wait_for_resume(struct task *t, uint32_t generation, const void *context)
{
	t->context = context;
	/* release, both: the context, and all that this thread did. Pairs with the acquire in
	 * has_answered() and await_answers(). */
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
	struct task *t = generation & 1 ? find_task(tid) : NULL;

	(void)info;
	/* Else it is late, or not ours. relaxed: its own word. */
	if (t && atomic_load_explicit(&t->answered, memory_order_relaxed) != generation)
		wait_for_resume(t, generation, context);
	cuts_note(tid, signo, context);
}

/* A fresh record in the chunks; NULL: no memory. */
static struct task *next_task(void)
{
	unsigned i = world.ntasks % CHUNK_RECORDS;

	if (i == 0) {
		struct task_chunk **next = world.ntasks ? &world.chunk->next : &world.chunks;

		if (!*next)
			*next = os_map(align_up(sizeof **next, OS_PAGE_BYTES));
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
	struct task *_Atomic *bucket = &world.bucket[tid % NBUCKETS];

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
	/* release: pairs with the acquire in find_task(). */
	atomic_store_explicit(bucket, t, memory_order_release);
	return t;
}

static bool has_answered(const struct task *t)
{
	/* acquire: pairs with the release in stop_here(). relaxed: only the holder of the lock
	 * changes the generation. */
	return atomic_load_explicit(&t->answered, memory_order_acquire)
	       == atomic_load_explicit(&world.generation, memory_order_relaxed);
}

static void visit_tasks(void (*fn)(struct task *t))
{
	unsigned n = 0;

	for (struct task_chunk *c = world.chunks; c && n < world.ntasks; c = c->next) {
		for (unsigned i = 0; i < CHUNK_RECORDS && n < world.ntasks; i++, n++)
			fn(&c->task[i]);
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

/* EAGAIN: no room for one more pending signal (RLIMIT_SIGPENDING); others are taken meanwhile. */
static void ask(unsigned number, void *arg)
{
	int tid = (int)number;
	long error = 0;

	(void)arg;
	if (tid == world.self || find_task(tid))
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
 * that blocks the signal may do so for a moment: our own code does, and libc's. */
static void look_at(struct task *t)
{
	int tid = atomic_load_explicit(&t->tid, memory_order_relaxed);   /* LOCK_WORLD */
	struct status status;

	if (t->is_gone || has_answered(t))
		return;
	read_status(tid, &status);
	if (status.state == 'Z' || status.state == 'X' || signal_task(tid, 0) == -ESRCH)
		note_gone(t);
	else
		world.ndeaf += (unsigned)(status.blocked >> (scan_threads_signal() - 1) & 1);
}

/* Who has not answered for so long will not. */
static bool is_hopeless(uint64_t ns, uint32_t nanswered)
{
	world.ndeaf = 0;
	visit_tasks(look_at);
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
		usleep(1000);
	}
}

static void leave_world(void)
{
	struct sigmask saved = world.saved;

	lock_drop(&world.lock);
	sigmask_restore(&saved);
}

/* Again at each stop: programs set all signals to their defaults by signal(), which is not wrapped. */
static bool install(void)
{
	struct sigaction action = { .sa_sigaction = stop_here,
	                            .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK };

	/* libc's own two signals as well, which sigfillset() leaves out: a thread that is cancelled
	 * does not unwind its stack while the world is stopped. */
	memset(&action.sa_mask, 0xff, sizeof action.sa_mask);
	return !__sigaction(scan_threads_signal(), &action, NULL);
}

static void begin_stop(void)
{
	/* relaxed, all: LOCK_WORLD. A late handler of an earlier stop finds its way to the end of
	 * some bucket, for records are never unmapped. */
	for (unsigned i = 0; i < NBUCKETS; i++)
		atomic_store_explicit(&world.bucket[i], NULL, memory_order_relaxed);
	atomic_store_explicit(&world.nanswered, 0, memory_order_relaxed);
	atomic_store_explicit(&world.nasked, 0, memory_order_relaxed);
	world.ntasks = world.ngone = 0;
	world.is_short = false;
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

static void note_missed(struct task *t)
{
	bool answered = has_answered(t);

	world.info.nthreads += answered;
	world.info.nmissed += !answered && !t->is_gone;
}

/* Threads that start while others are being asked show up in the next look. */
static bool stop_others(void)
{
	do {
		world.has_new = false;
		if (!peek_numbers("/proc/self/task", ask, NULL))
			return false;
		if (world.has_new)
			await_answers();
	} while (world.has_new && !world.is_short);
	world.info = (struct scan_stop_info){ .ns = os_now_ns() - world.began_ns };
	visit_tasks(note_missed);
	world.info.nmissed += world.is_short;   /* at least one: there was no memory to ask it */
	return true;
}

__attribute__((noinline)) bool scan_stop(void)
{
	uintptr_t registers[REGS_NSAVED];

	regs_save(registers);
	if (!scan_threads_is_on())
		return false;
	take_world();
	memcpy(world.self_registers, registers, sizeof registers);
	world.self_frame = (uintptr_t)__builtin_frame_address(0);
	begin_stop();
	if (install() && stop_others())
		return true;
	end_stop();
	leave_world();
	return false;
}

void scan_resume(void)
{
	check(lock_held(&world.lock));
	end_stop();
	leave_world();
}

static struct scan_thread *first_record(void)
{
	/* acquire: pairs with the release in new_record(). */
	return atomic_load_explicit(&world.records, memory_order_acquire);
}

static struct scan_thread *new_record(void)
{
	struct sigmask saved;
	struct scan_thread *t;

	for (t = first_record(); t; t = t->next) {
		uint32_t state = RECORD_FREE;

		/* acquire: pairs with the release where it became free. */
		if (atomic_load_explicit(&t->state, memory_order_relaxed) == RECORD_FREE
		    && atomic_compare_exchange_strong_explicit(&t->state, &state, RECORD_PLANNED,
		                                               memory_order_acquire,
		                                               memory_order_relaxed))
			return t;
	}
	sigmask_block(&saved);
	t = meta_alloc(sizeof *t, sizeof(void *));
	sigmask_restore(&saved);
	if (!t)
		return NULL;
	/* relaxed: nobody knows the record yet. */
	atomic_store_explicit(&t->state, RECORD_PLANNED, memory_order_relaxed);
	t->next = first_record();
	/* release: pairs with the acquire in first_record(). */
	while (!atomic_compare_exchange_weak_explicit(&world.records, &t->next, t,
	                                              memory_order_release, memory_order_relaxed))
		;
	return t;
}

struct scan_thread *scan_thread_plan(void *(*start)(void *), void *arg)
{
	struct scan_thread *t = new_record();

	if (t) {
		t->start = start;
		t->arg = arg;
	}
	return t;
}

void scan_thread_drop(struct scan_thread *t)
{
	t->arg = NULL;
	/* release: pairs with the acquire in new_record(). */
	atomic_store_explicit(&t->state, RECORD_FREE, memory_order_release);
}

static bool overlaps(const struct scan_thread *t, uintptr_t base, uintptr_t limit)
{
	return t->base < limit && base < t->limit;
}

/* Its thread has ended, for another one has the stack. */
static void drop_former(const struct scan_thread *self, uintptr_t base, uintptr_t limit)
{
	for (struct scan_thread *t = first_record(); t; t = t->next) {
		uint32_t state = RECORD_BEGUN;

		/* relaxed: the bounds of others are as they were when their threads began, or the
		 * exchange fails. */
		if (t != self && atomic_load_explicit(&t->state, memory_order_acquire) == RECORD_BEGUN
		    && overlaps(t, base, limit))
			atomic_compare_exchange_strong_explicit(&t->state, &state, RECORD_FREE,
			                                        memory_order_acq_rel,
			                                        memory_order_relaxed);
	}
}

static void open_mask(void)
{
	struct sigmask ours = { UINT64_C(1) << (scan_threads_signal() - 1) };

	regs_syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&ours, 0, sizeof ours.bits);
}

struct scan_job scan_thread_begins(struct scan_thread *t, uintptr_t base, uintptr_t limit)
{
	struct scan_job job = { t->start, t->arg };

	open_mask();
	drop_former(t, base, limit);
	t->base = base;
	t->limit = limit;
	t->libc_record = (uintptr_t)pthread_self();
	t->arg = NULL;
	/* relaxed: published by the state. */
	atomic_store_explicit(&t->tid, (int)regs_syscall(SYS_gettid, 0, 0, 0, 0),
	                      memory_order_relaxed);
	/* release: the world is stopped, or drop_former(), before anyone reads the bounds. */
	atomic_store_explicit(&t->state, RECORD_BEGUN, memory_order_release);
	return job;
}

/* The first thread's stack grows down; its end never moves. */
static bool know_main(void)
{
	struct mapping stack;
	struct scan_thread *t;

	if (!maps_find((uintptr_t)__builtin_frame_address(0), &stack))
		return false;
	t = scan_thread_plan(NULL, NULL);
	if (t)
		scan_thread_begins(t, stack.to - MAIN_STACK_BYTES, stack.to);
	return t;
}

bool scan_threads_start(void)
{
	if (scan_threads_is_on())
		return true;
	if (!know_main() || !install())
		return false;
	cuts_start();
	/* relaxed: there is one thread. */
	atomic_store_explicit(&world.is_on, true, memory_order_relaxed);
	return true;
}

static bool holds(const struct scan_thread *t, uintptr_t sp)
{
	return sp >= t->base && sp < t->limit;
}

/* Does libc's record of a thread still stand in the stack? Else the addresses may be anyone's by now. */
static bool is_libcs(const struct scan_thread *t)
{
	uintptr_t word[REGS_RECORD_WORDS];

	return holds(t, t->libc_record)
	       && peek(word, t->libc_record, sizeof word) == sizeof word
	       && regs_is_thread_record(t->libc_record, word);
}

/* The record of a task by the stack it is on: thread ids are used again, and so is the stack of a
 * thread that ended, before the next one tells that it has begun. */
static struct scan_thread *record_of(int tid, uintptr_t sp)
{
	for (struct scan_thread *t = first_record(); t; t = t->next) {
		/* relaxed: the world is stopped. */
		if (atomic_load_explicit(&t->state, memory_order_relaxed) == RECORD_BEGUN && holds(t, sp)
		    && (atomic_load_explicit(&t->tid, memory_order_relaxed) == tid || is_libcs(t)))
			return t;
	}
	return NULL;
}

struct visit {
	scan_range_fn *fn;
	void *arg;
};

static void show_altstack(const stack_t *alt, uintptr_t from, const struct visit *v)
{
	uintptr_t base = (uintptr_t)alt->ss_sp;

	if ((alt->ss_flags & SS_DISABLE) || from < base || from - base >= alt->ss_size)
		return;
	v->fn(from, base + alt->ss_size, "altstack", v->arg);
}

/* The frame that the kernel pushed, with all registers, lies below the stack pointer or on the
 * alternate stack: from the context up is alive. */
static void show_task(struct task *t, const struct visit *v)
{
	uintptr_t context = (uintptr_t)t->context;
	int tid = atomic_load_explicit(&t->tid, memory_order_relaxed);   /* LOCK_WORLD */

	if (t->is_gone || !has_answered(t))
		return;

	uintptr_t sp = regs_stack_pointer(t->context);
	struct scan_thread *record = record_of(tid, sp);

	v->fn(context, context + sizeof *t->context, "registers", v->arg);
	show_altstack(&t->context->uc_stack, context, v);
	if (record)
		record->is_in_use = true;
	if (record && holds(record, context) && context < sp)
		v->fn(context, record->limit, "stack", v->arg);
	else if (record)
		v->fn(sp - regs_red_zone(), record->limit, "stack", v->arg);
}

static void show_self(const struct visit *v)
{
	struct scan_thread *record = record_of(world.self, world.self_frame);
	uintptr_t registers = (uintptr_t)world.self_registers;
	stack_t alt;

	v->fn(registers, registers + sizeof world.self_registers, "registers", v->arg);
	if (regs_syscall(SYS_sigaltstack, 0, (long)&alt, 0, 0) == 0) {
		v->fn((uintptr_t)&alt, (uintptr_t)(&alt + 1), "registers", v->arg);
		show_altstack(&alt, world.self_frame, v);
	}
	if (!record)
		return;
	record->is_in_use = true;
	v->fn(world.self_frame, record->limit, "stack", v->arg);
}

/* visit_tasks() for functions that need an argument. */
static void show_tasks(const struct visit *v)
{
	unsigned n = 0;

	for (struct task_chunk *c = world.chunks; c && n < world.ntasks; c = c->next) {
		for (unsigned i = 0; i < CHUNK_RECORDS && n < world.ntasks; i++, n++)
			show_task(&c->task[i], v);
	}
}

void scan_threads_visit(scan_range_fn *fn, void *arg)
{
	const struct visit v = { fn, arg };

	for (struct scan_thread *t = first_record(); t; t = t->next) {
		uintptr_t argument = (uintptr_t)&t->arg;

		t->is_in_use = false;
		/* relaxed: the world is stopped. */
		if (atomic_load_explicit(&t->state, memory_order_relaxed) == RECORD_PLANNED)
			fn(argument, argument + sizeof t->arg, "thread argument", arg);
	}
	show_self(&v);
	show_tasks(&v);
}

/* libc keeps the stack for the next thread, with the record of the last one at its end, which holds
 * what libc still needs: the result until it is joined, dynamic TLS until it is used again. The first
 * thread's record is elsewhere, and its stack stays. */
static bool has_ended(const struct scan_thread *t)
{
	int tid = atomic_load_explicit(&t->tid, memory_order_relaxed);  /* the world is stopped */
	const struct task *task = find_task(tid);

	if (tid == world.self || (task && !task->is_gone))
		return false;
	if (!holds(t, t->libc_record))
		return tid == world.pid && task;
	return is_libcs(t);
}

void scan_threads_visit_dead(void (*fn)(uintptr_t from, uintptr_t to, void *arg), void *arg)
{
	for (const struct scan_thread *t = first_record(); t; t = t->next) {
		/* relaxed: the world is stopped. */
		if (atomic_load_explicit(&t->state, memory_order_relaxed) != RECORD_BEGUN)
			continue;
		if (t->is_in_use)
			fn(t->base, t->limit, arg);
		else if (has_ended(t))
			fn(t->base, holds(t, t->libc_record) ? t->libc_record
			                                     : (uintptr_t)__libc_stack_end, arg);
	}
}

void scan_threads_fork_child(void)
{
	/* relaxed, all: there is one thread. */
	uint32_t generation = atomic_load_explicit(&world.generation, memory_order_relaxed);

	lock_reset_after_fork(&world.lock);
	atomic_store_explicit(&world.generation, generation + (generation & 1), memory_order_relaxed);
	for (struct scan_thread *t = first_record(); t; t = t->next) {
		uint32_t state = atomic_load_explicit(&t->state, memory_order_relaxed);

		if (state == RECORD_BEGUN && t->libc_record == (uintptr_t)pthread_self())
			atomic_store_explicit(&t->tid, (int)regs_syscall(SYS_gettid, 0, 0, 0, 0),
			                      memory_order_relaxed);
		else if (state != RECORD_FREE)
			scan_thread_drop(t);
	}
}
