/* thread_stacks.c: the threads of libc's, their stacks, and what is alive on them: see threads.h.
 *
 * Reached from preload (a thread of libc's begins) and, while the world is stopped, from roots.c.
 * Depends on world.h, stretches.h, maps.h and peek.h.
 *
 * Records of threads are never unmapped, and used again. LOCK_THREADS is held for a few steps, with signals
 * blocked, so that no stopped thread has it; but one that did not stop may, and in a copy of the process it
 * never drops it: whoever finds it held for long does without (try_tree()).
 *
 * Invariant:
 *   R1  the records that have begun, and no others, are in the tree; no two of them overlap: whose stack
 *       another thread's overlaps has ended.
 */
#include "scan/world.h"

#include "core/meta.h"
#include "scan/cuts.h"
#include "scan/maps.h"
#include "scan/peek.h"
#include "scan/stretches.h"

#include <pthread.h>
#include <stddef.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NEAR_RECORD KIB(4)
#define TREE_TRIES 1000

/* The loader's: from here on the first thread's stack is the kernel's: arguments and environment, where
 * the program may have put pointers of its own. */
extern void *__libc_stack_end;

#define MAIN_STACK_BYTES MIB(128)               /* the kernel leaves at least this below it */

enum record_state { RECORD_FREE, RECORD_PLANNED, RECORD_BEGUN };

/* What is known of a thread of libc's, until another one has its stack. */
struct scan_thread {
	struct scan_thread *next;               /* constant */
	struct scan_thread *next_free;          /* LOCK_THREADS */
	_Atomic uint32_t state;                 /* enum record_state; changes by LOCK_THREADS */
	_Atomic int tid;

	/* The creator until the thread begins, then the thread; stable while the world is stopped. */
	void *(*start)(void *);
	void *arg;
	bool keeps_stack;                       /* the program, when the thread has ended */
	struct stretch stack;
	uintptr_t libc_record;                  /* pthread_self() */

	/* LOCK_WORLD. */
	bool is_in_use;                         /* the live part was shown, in this visit */
	bool is_taken;                          /* by a task without a record of its own */
};

static struct scan_thread *_Atomic records;    /* all ever made */

static struct {
	struct lock lock;

	/* The lock. */
	struct scan_thread *free;
	struct stretch *begun;                  /* their stacks */
} threads = { .lock = LOCK_INIT(LOCK_THREADS) };

static struct scan_thread *first_record(void)
{
	/* acquire: pairs with the release in new_record(). */
	return atomic_load_explicit(&records, memory_order_acquire);
}

static struct scan_thread *record_with(struct stretch *stack)
{
	return stack ? (struct scan_thread *)((char *)stack - offsetof(struct scan_thread, stack)) : NULL;
}

static void enter(struct sigmask *saved)
{
	sigmask_block(saved);
	lock_take(&threads.lock);
}

static void leave(const struct sigmask *saved)
{
	lock_drop(&threads.lock);
	sigmask_restore(saved);
}

static void set_state(struct scan_thread *t, enum record_state state)
{
	/* release: what was written to the record. The world is stopped before somebody without the lock
	 * reads it. */
	atomic_store_explicit(&t->state, state, memory_order_release);
}

/* The lock. */
static void make_free(struct scan_thread *t)
{
	t->arg = NULL;
	set_state(t, RECORD_FREE);
	t->next_free = threads.free;
	threads.free = t;
}

static struct scan_thread *reuse_record(void)
{
	struct scan_thread *t = threads.free;

	if (t)
		threads.free = t->next_free;
	return t;
}

static struct scan_thread *make_record(void)
{
	struct scan_thread *t = meta_alloc(sizeof *t, sizeof(void *));

	if (!t)
		return NULL;
	t->next = first_record();
	/* release: pairs with the acquire in first_record(). */
	while (!atomic_compare_exchange_weak_explicit(&records, &t->next, t,
	                                              memory_order_release, memory_order_relaxed))
		;
	return t;
}

struct scan_thread *scan_thread_plan(void *(*start)(void *), void *arg, bool keeps_stack)
{
	struct sigmask saved;
	struct scan_thread *t;

	enter(&saved);
	t = reuse_record();
	if (!t)
		t = make_record();
	if (t) {
		t->start = start;
		t->arg = arg;
		t->keeps_stack = keeps_stack;
		set_state(t, RECORD_PLANNED);
	}
	leave(&saved);
	return t;
}

void scan_thread_drop(struct scan_thread *t)
{
	struct sigmask saved;

	enter(&saved);
	make_free(t);
	leave(&saved);
}

/* Their threads have ended, for another one has the stack. */
static void drop_former(const struct stretch *stack)
{
	struct scan_thread *t;

	while ((t = record_with(stretches_find(threads.begun, stack->from, stack->to)))) {
		stretches_remove(&threads.begun, &t->stack);
		make_free(t);
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
	struct sigmask saved;

	open_mask();
	enter(&saved);
	t->stack = (struct stretch){ .from = base, .to = limit };
	t->libc_record = (uintptr_t)pthread_self();
	t->arg = NULL;
	/* relaxed: published by the state. */
	atomic_store_explicit(&t->tid, (int)regs_syscall(SYS_gettid, 0, 0, 0, 0),
	                      memory_order_relaxed);
	drop_former(&t->stack);
	if (base < limit) {
		stretches_add(&threads.begun, &t->stack);
		set_state(t, RECORD_BEGUN);
	} else {
		make_free(t);                   /* libc could not tell */
	}
	leave(&saved);
	return job;
}

/* The first thread's stack grows down; its end never moves. */
static bool know_main(void)
{
	struct mapping stack;
	struct scan_thread *t;

	if (!maps_find((uintptr_t)__builtin_frame_address(0), &stack))
		return false;
	t = scan_thread_plan(NULL, NULL, false);
	if (t)
		scan_thread_begins(t, stack.to - MAIN_STACK_BYTES, stack.to);
	return t;
}

bool scan_threads_start(void)
{
	if (scan_threads_is_on())
		return true;
	if (!know_main() || !world_install())
		return false;
	cuts_start();
	world.home = getpid();
	/* relaxed: there is one thread. */
	atomic_store_explicit(&world.is_on, true, memory_order_relaxed);
	return true;
}

static bool holds(const struct scan_thread *t, uintptr_t sp)
{
	return sp >= t->stack.from && sp < t->stack.to;
}

/* Does libc's record of a thread still stand in the stack? Else the addresses may be anyone's by now. */
static bool is_libcs(const struct scan_thread *t)
{
	uintptr_t word[REGS_RECORD_WORDS];

	return holds(t, t->libc_record)
	       && peek(word, t->libc_record, sizeof word) == sizeof word
	       && regs_is_thread_record(t->libc_record, word);
}

/* False: a thread that did not stop has the lock, or had it when the process was copied. Then nobody's stack
 * is known, and all of each is a root. */
static bool try_tree(void)
{
	for (unsigned tries = TREE_TRIES; tries; tries--) {
		if (lock_try(&threads.lock))
			return true;
		regs_syscall(SYS_sched_yield, 0, 0, 0, 0);
	}
	return false;
}

static struct scan_thread *record_at(uintptr_t p)
{
	struct scan_thread *t = NULL;

	if (try_tree()) {
		t = record_with(stretches_find(threads.begun, p, p + 1));
		lock_drop(&threads.lock);
	}
	return t;
}

/* The record of a task that is on that stack. */
static struct scan_thread *record_of(int tid, uintptr_t sp)
{
	struct scan_thread *t = record_at(sp);

	/* relaxed: the world is stopped. */
	return t && atomic_load_explicit(&t->tid, memory_order_relaxed) == tid ? t : NULL;
}

/* A task that has not yet told that it begins may be where a thread has ended, with a record of libc's in
 * the same place: on a stack of another size perhaps, and what was the other's is others'. Of this one all
 * is a root. */
static void note_taken(uintptr_t thread_pointer)
{
	struct scan_thread *t = record_at(thread_pointer);

	if (t)
		t->is_taken = true;
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

/* "0 0x3 0x7f0012345678 ..." while it waits in the kernel: number, arguments, stack pointer, address. */
static bool see_call(char *line, void *arg)
{
	const struct visit *v = arg;
	const char *at = line;

	while ((at = strstr(at, " 0x"))) {
		at += strlen(" 0x");

		uintptr_t word = maps_hex(&at);

		v->fn((uintptr_t)&word, (uintptr_t)(&word + 1), "registers", v->arg);
	}
	return false;
}

/* It did not answer: of its registers the kernel tells some, and all of its stack is a root. */
static void show_missed(int tid, const struct visit *v)
{
	char path[64], *end = path;
	struct visit visit = *v;

	peek_put(&end, "/proc/self/task/");
	peek_put_number(&end, (unsigned)tid);
	peek_put(&end, "/syscall");
	peek_lines(path, see_call, &visit);
}

/* The frame that the kernel pushed, with all registers, lies below the stack pointer or on the
 * alternate stack: from the context up is alive. */
static void show_task(struct task *t, void *arg)
{
	const struct visit *v = arg;
	uintptr_t context = (uintptr_t)t->context;
	int tid = atomic_load_explicit(&t->tid, memory_order_relaxed);   /* LOCK_WORLD */

	if (t->is_gone)
		return;
	world.shown = tid;
	if (!world_has_answered(t)) {
		show_missed(tid, v);
		return;
	}

	uintptr_t sp = regs_stack_pointer(t->context);
	struct scan_thread *record = record_of(tid, sp);

	v->fn(context, context + sizeof *t->context, "registers", v->arg);
	show_altstack(&t->context->uc_stack, context, v);
	if (!record) {
		note_taken(t->thread_pointer);
		return;
	}
	record->is_in_use = true;
	if (holds(record, context) && context < sp)
		v->fn(context, record->stack.to, "stack", v->arg);
	else
		v->fn(sp - regs_red_zone(), record->stack.to, "stack", v->arg);
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
	if (!record) {
		note_taken((uintptr_t)__builtin_thread_pointer());
		return;
	}
	record->is_in_use = true;
	v->fn(world.self_frame, record->stack.to, "stack", v->arg);
}

void scan_threads_visit(scan_range_fn *fn, void *arg)
{
	struct visit v = { fn, arg };

	for (struct scan_thread *t = first_record(); t; t = t->next) {
		uintptr_t argument = (uintptr_t)&t->arg;

		t->is_in_use = t->is_taken = false;
		/* relaxed: the world is stopped. */
		if (atomic_load_explicit(&t->state, memory_order_relaxed) == RECORD_PLANNED)
			fn(argument, argument + sizeof t->arg, "thread argument", arg);
	}
	world.shown = world.self;
	show_self(&v);
	world_visit_tasks(show_task, &v);
	world.shown = 0;
}

int scan_threads_shown(void)
{
	return world.shown;
}

int scan_threads_at(uintptr_t p, uintptr_t *libc_record)
{
	for (const struct scan_thread *t = first_record(); t; t = t->next) {
		/* relaxed, both: the world is stopped. */
		if (atomic_load_explicit(&t->state, memory_order_relaxed) != RECORD_BEGUN
		    || p - (t->libc_record - NEAR_RECORD) > 2 * NEAR_RECORD)
			continue;
		*libc_record = t->libc_record;
		return atomic_load_explicit(&t->tid, memory_order_relaxed);
	}
	return 0;
}

/* libc keeps the stack for the next thread, with the record of the last one at its end, which holds
 * what libc still needs: the result until it is joined, dynamic TLS until it is used again. The first
 * thread's record is elsewhere, and its stack stays. */
static bool has_ended(const struct scan_thread *t)
{
	int tid = atomic_load_explicit(&t->tid, memory_order_relaxed);  /* the world is stopped */
	const struct task *task = world_find_task(tid);

	if (tid == world.self || (task && !task->is_gone) || t->keeps_stack || t->is_taken)
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
			fn(t->stack.from, t->stack.to, arg);
		else if (has_ended(t))
			fn(t->stack.from, holds(t, t->libc_record) ? t->libc_record
			                                     : (uintptr_t)__libc_stack_end, arg);
	}
}

void scan_threads_fork_child(void)
{
	/* relaxed, all: there is one thread. */
	uint32_t generation = atomic_load_explicit(&world.generation, memory_order_relaxed);

	lock_reset_after_fork(&world.lock);
	world.nleaving = world_nown_leaving = 0;
	world.home = getpid();
	atomic_store_explicit(&world.generation, generation + (generation & 1), memory_order_relaxed);
	lock_reset_after_fork(&threads.lock);
	threads.begun = NULL;
	threads.free = NULL;
	for (struct scan_thread *t = first_record(); t; t = t->next) {
		if (atomic_load_explicit(&t->state, memory_order_relaxed) != RECORD_BEGUN
		    || t->libc_record != (uintptr_t)pthread_self()) {
			make_free(t);
			continue;
		}
		atomic_store_explicit(&t->tid, (int)regs_syscall(SYS_gettid, 0, 0, 0, 0),
		                      memory_order_relaxed);
		stretches_add(&threads.begun, &t->stack);
	}
}
