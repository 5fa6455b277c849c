/* thread_stacks.c: the threads of libc's, their stacks, and what is alive on them: see threads.h.
 *
 * Reached from preload (a thread of libc's begins) and, while the world is stopped, from roots.c.
 * Depends on world.h, maps.h and peek.h. Records of threads are taken and dropped without a lock;
 * they are never unmapped, and used again.
 */
#include "scan/world.h"

#include "core/meta.h"
#include "scan/cuts.h"
#include "scan/maps.h"
#include "scan/peek.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NEAR_RECORD KIB(4)

/* The loader's: from here on the first thread's stack is the kernel's: arguments and environment, where
 * the program may have put pointers of its own. */
extern void *__libc_stack_end;

#define MAIN_STACK_BYTES MIB(128)               /* the kernel leaves at least this below it */

enum record_state { RECORD_FREE, RECORD_PLANNED, RECORD_BEGUN };

/* What is known of a thread of libc's, until another one has its stack. */
struct scan_thread {
	struct scan_thread *next;               /* constant */
	_Atomic uint32_t state;                 /* enum record_state */
	_Atomic int tid;

	/* The creator until the thread begins, then the thread; stable while the world is stopped. */
	void *(*start)(void *);
	void *arg;
	bool keeps_stack;                       /* the program, when the thread has ended */
	uintptr_t base, limit;
	uintptr_t libc_record;                  /* pthread_self() */

	/* LOCK_WORLD. */
	bool is_in_use;                         /* the live part was shown, in this visit */
};

static struct scan_thread *_Atomic records;    /* all ever made */

static struct scan_thread *first_record(void)
{
	/* acquire: pairs with the release in new_record(). */
	return atomic_load_explicit(&records, memory_order_acquire);
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
	while (!atomic_compare_exchange_weak_explicit(&records, &t->next, t,
	                                              memory_order_release, memory_order_relaxed))
		;
	return t;
}

struct scan_thread *scan_thread_plan(void *(*start)(void *), void *arg, bool keeps_stack)
{
	struct scan_thread *t = new_record();

	if (t) {
		t->start = start;
		t->arg = arg;
		t->keeps_stack = keeps_stack;
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
		    && (atomic_load_explicit(&t->tid, memory_order_relaxed) == tid
		        || (!t->keeps_stack && is_libcs(t))))
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

void scan_threads_visit(scan_range_fn *fn, void *arg)
{
	struct visit v = { fn, arg };

	for (struct scan_thread *t = first_record(); t; t = t->next) {
		uintptr_t argument = (uintptr_t)&t->arg;

		t->is_in_use = false;
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

	if (tid == world.self || (task && !task->is_gone) || t->keeps_stack)
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
	world.nleaving = 0;
	world.home = getpid();
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
