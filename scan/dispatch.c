/* dispatch.c: see dispatch.h.
 *
 * Reached from dirty_mprotect.c, from the end of each stop (leave_stop()) and from the kernel (SIGSYS).
 * Handlers touch no thread-local, for a raw clone may share its creator's, and make system calls by
 * regs_calls.h's range only: theirs are not reported.
 *
 *     selector  ALLOW, or BLOCK in a window; one for all threads, read by the kernel at each call
 *
 * What would undo a window is changed on its way to the kernel: masks never hold SIGSEGV, SIGSYS or the
 * stop signal, neither those of handlers nor those that a return from a handler sets; the actions of
 * the first two are faults.c's; an alternate stack in the heap is open from the moment on that it is one.
 * The library's own masks, which leave the first two open, are not looked at: they keep a stop out as they
 * do where there is no window (sigmask_ask_by()).
 */
#include "scan/dispatch.h"

#include "core/sigmask.h"
#include "scan/altstacks.h"
#include "scan/calls.h"
#include "scan/faults.h"
#include "scan/guard.h"
#include "scan/regs.h"
#include "scan/world.h"

#include <errno.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif
#define DISPATCH_OFF 0
#define DISPATCH_ON 1
#define REPORTED_CODE 2                         /* si_code: SYS_USER_DISPATCH */

#define NO_TSAN __attribute__((no_sanitize("thread")))

#define BELOW_BYTES KIB(16)                     /* of a stack: frames of handlers, a few of calls */
#define ABOVE_BYTES KIB(4)
#define MODE_PLAIN 3                            /* PROT_READ | PROT_WRITE */

enum { ALLOW, BLOCK };
enum child { CHILD_OTHER, CHILD_THREAD, CHILD_COPY };

static struct {
	_Alignas(CACHE_LINE) _Atomic uint8_t selector;
	_Atomic int spared;                     /* a thread */
	_Atomic uint64_t ncalls;                /* reported */
} dispatch;

NO_TSAN static long set_dispatch(long mode)
{
	return mode == DISPATCH_ON
	       ? regs_syscall6(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, mode, (long)regs_calls_from,
	                       regs_calls_to - regs_calls_from, (long)&dispatch.selector, 0)
	       : regs_syscall6(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, mode, 0, 0, 0, 0);
}

bool dispatch_start(void)
{
	if (set_dispatch(DISPATCH_ON) || set_dispatch(DISPATCH_OFF))
		return false;
	sigmask_ask_by(regs_syscall6);
	return true;
}

NO_TSAN static int own_tid(void)
{
	return (int)regs_syscall(SYS_gettid, 0, 0, 0, 0);
}

void dispatch_spare_thread(void)
{
	uint64_t open = faults_open_signals();

	set_dispatch(DISPATCH_OFF);
	regs_syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&open, 0, sizeof open);
	/* relaxed: read by this thread's handlers. */
	atomic_store_explicit(&dispatch.spared, own_tid(), memory_order_relaxed);
}

NO_TSAN static bool is_spared(int tid)
{
	/* relaxed: see dispatch_spare_thread(). */
	return atomic_load_explicit(&dispatch.spared, memory_order_relaxed) == tid;
}

NO_TSAN void dispatch_open_stack(uintptr_t sp)
{
	if (guard_covers(sp))
		guard_open(sp - BELOW_BYTES, sp + ABOVE_BYTES);
}

NO_TSAN static void open_altstack(const stack_t *s)
{
	uintptr_t base = (uintptr_t)s->ss_sp;

	if (!(s->ss_flags & SS_DISABLE))
		guard_open(base, base + s->ss_size);
}

/* A thread that goes on in the window from this context. */
NO_TSAN static void fix(void *context, int tid)
{
	void *next = regs_stub_returning_to(context);

	faults_hide(tid, regs_mask(context));
	altstacks_give(tid, regs_altstack(context));
	regs_undo_detour(context);
	if (next) {
		guard_open((uintptr_t)next, (uintptr_t)next + sizeof(ucontext_t));
		faults_hide_only(tid, regs_mask(next));
		altstacks_give(tid, regs_altstack(next));
		regs_undo_detour(next);
	}
}

/* A stopped thread leaves the handler. ctx: signal, all signals blocked, its stack is open */
NO_TSAN static void leave_stop(void *context, int tid)
{
	if (!guard_is_closed() || is_spared(tid))
		return;
	set_dispatch(DISPATCH_ON);
	fix(context, tid);
}

/* --- calls --- */

/* 8 bytes at `at`, a mask, without what must stay open, go to the room. */
NO_TSAN static bool open_mask(uintptr_t at, uint64_t *room)
{
	uint64_t mask;

	if (!at || calls_read(&mask, at, sizeof mask) < sizeof mask)
		return false;
	*room = mask & ~faults_open_signals();
	return *room != mask;
}

NO_TSAN static void make_call(void *context)
{
	regs_detour(context, REGS_STUB_CALL, -1, 0, CHILD_OTHER);
}

NO_TSAN static void make_masked_call(void *context, const struct regs_args *c, int argument)
{
	uint64_t *room = regs_room(context);

	if (open_mask(c->arg[argument], room))
		regs_detour(context, REGS_STUB_CALL, argument, (uintptr_t)room, CHILD_OTHER);
	else
		make_call(context);
}

/* The mask and its size are at the address that the last argument tells. */
NO_TSAN static void make_pselect(void *context, const struct regs_args *c)
{
	struct {
		uintptr_t at, nbytes;
		uint64_t mask;
	} *room = regs_room(context);

	if (c->arg[5] && calls_read(room, c->arg[5], 2 * sizeof(uintptr_t)) == 2 * sizeof(uintptr_t)
	    && open_mask(room->at, &room->mask)) {
		room->at = (uintptr_t)&room->mask;
		regs_detour(context, REGS_STUB_CALL, 5, (uintptr_t)room, CHILD_OTHER);
	} else {
		make_call(context);
	}
}

/* The kernel looks at the arguments first, and then all is known here. */
NO_TSAN static void change_owned(void *context, const struct regs_args *c)
{
	int signo = (int)c->arg[0];
	struct regs_action new, old;
	bool has_new = c->arg[1];
	long error = regs_syscall(SYS_rt_sigaction, signo, 0, (long)c->arg[2], (long)c->arg[3]);

	if (!error && has_new && calls_read(&new, c->arg[1], sizeof new) < sizeof new)
		error = -EFAULT;
	if (!error) {
		faults_change(signo, has_new ? &new : NULL, &old);
		if (c->arg[2])
			*(struct regs_action *)c->arg[2] = old;
	}
	regs_give_result(context, error);
}

NO_TSAN static void make_sigaction(void *context, const struct regs_args *c)
{
	struct regs_action *room = regs_room(context);

	if (c->arg[0] < 64 && faults_owns((int)c->arg[0])) {
		change_owned(context, c);
		return;
	}
	if (c->arg[1] && calls_read(room, c->arg[1], sizeof *room) == sizeof *room
	    && (room->mask & faults_open_signals())) {
		room->mask &= ~faults_open_signals();
		regs_detour(context, REGS_STUB_CALL, 1, (uintptr_t)room, CHILD_OTHER);
	} else {
		make_call(context);
	}
}

/* The interrupted thread's mask is in the context, and the kernel sets it when the handler returns. What
 * is wrong with the arguments it tells before. */
NO_TSAN static void change_mask(void *context, const struct regs_args *c)
{
	uint64_t set, old;
	long error = regs_syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)c->arg[2], (long)c->arg[3]);

	if (!error && c->arg[1] && c->arg[0] > SIG_SETMASK)
		error = -EINVAL;
	if (!error && c->arg[1] && calls_read(&set, c->arg[1], sizeof set) < sizeof set)
		error = -EFAULT;
	if (!error) {
		faults_change_mask(own_tid(), (int)c->arg[0], c->arg[1] ? &set : NULL, &old,
		                   regs_mask(context));
		if (c->arg[2])
			*(uint64_t *)c->arg[2] = old;
	}
	regs_give_result(context, error);
}

/* What the kernel has, and whether it can be written there, is asked first; this handler may stand on it. The
 * kernel's own words about the former one would be about ours. */
NO_TSAN static void change_altstack(void *context, const struct regs_args *c)
{
	stack_t *new = regs_room(context), old = *regs_altstack(context);
	uintptr_t sp = regs_stack_pointer(context);
	bool is_on = !(old.ss_flags & SS_DISABLE) && sp - (uintptr_t)old.ss_sp < old.ss_size;
	int tid = own_tid();

	altstacks_hide(tid, &old);
	old.ss_flags |= is_on ? SS_ONSTACK : 0;
	if (c->arg[1] && !regs_syscall(SYS_sigaltstack, 0, (long)c->arg[1], 0, 0)) {
		*(stack_t *)c->arg[1] = old;
		regs_set_argument(context, 1, 0);
	}
	if (!c->arg[0] || calls_read(new, c->arg[0], sizeof *new) < sizeof *new) {
		make_call(context);
		return;
	}
	open_altstack(new);
	if (!is_on)
		altstacks_give(tid, new);
	regs_detour(context, REGS_STUB_CALL, 0, (uintptr_t)new, CHILD_OTHER);
}

NO_TSAN static long kind_of_child(uint64_t flags)
{
	if (!(flags & CLONE_VM))
		return CHILD_COPY;
	return flags & CLONE_SIGHAND ? CHILD_THREAD : CHILD_OTHER;
}

NO_TSAN static void make_clone(void *context, const struct regs_args *c)
{
	uintptr_t flags = c->number == SYS_clone ? c->arg[0] : c->number == SYS_vfork ? CLONE_VM : 0;
	uintptr_t top = c->number == SYS_clone ? c->arg[1] : 0;
	long kind = kind_of_child(flags);

	if (flags & CLONE_SETTLS)
		guard_open(c->arg[4] - ABOVE_BYTES, c->arg[4] + ABOVE_BYTES);
	if (top) {
		guard_open(top - BELOW_BYTES, top + ABOVE_BYTES);
		regs_detour(context, REGS_STUB_CLONE, 1, regs_prepare_child(context, top, kind), kind);
	} else if (flags & CLONE_VM) {
		regs_detour(context, REGS_STUB_VFORK, -1, 0, kind);
	} else {
		regs_detour(context, REGS_STUB_CLONE, -1, 0, kind);
	}
}

NO_TSAN static void make_clone3(void *context, const struct regs_args *c)
{
	struct clone_args *a = regs_room(context);
	size_t nbytes = c->arg[1];

	if (nbytes < CLONE_ARGS_SIZE_VER0 || nbytes > REGS_ROOM_BYTES
	    || calls_read(a, c->arg[0], nbytes) < nbytes) {
		make_call(context);             /* which the kernel refuses */
		return;
	}

	long kind = kind_of_child(a->flags);
	uintptr_t top = a->stack + a->stack_size;

	guard_open(a->child_tid, a->child_tid + sizeof(int));
	guard_open(a->parent_tid, a->parent_tid + sizeof(int));
	guard_open(a->pidfd, a->pidfd + sizeof(int));
	if (a->flags & CLONE_SETTLS)
		guard_open(a->tls - ABOVE_BYTES, a->tls + ABOVE_BYTES);
	if (a->stack) {
		guard_open(a->stack, top + ABOVE_BYTES);
		a->stack_size = regs_prepare_child(context, top, kind) - a->stack;
		regs_detour(context, REGS_STUB_CLONE, 0, (uintptr_t)a, kind);
	} else {
		regs_detour(context, a->flags & CLONE_VM ? REGS_STUB_VFORK : REGS_STUB_CLONE, -1, 0,
		            kind);
	}
}

NO_TSAN void regs_child(long kind)
{
	stack_t s = { .ss_flags = SS_DISABLE };

	if (kind == CHILD_COPY)
		dispatch_fork_child();
	if (kind != CHILD_THREAD)
		return;
	faults_thread_begins(own_tid());
	set_dispatch(DISPATCH_ON);
	if (altstacks_give(own_tid(), &s))
		regs_syscall(SYS_sigaltstack, (long)&s, 0, 0, 0);
}

NO_TSAN static void make(void *context, const struct regs_args *c)
{
	switch (c->number) {
	case SYS_rt_sigreturn:
		faults_hide_only(own_tid(), regs_mask(regs_returning_to(context)));
		fix(regs_returning_to(context), own_tid());
		regs_detour(context, REGS_STUB_RETURN, -1, 0, CHILD_OTHER);
		return;
	case SYS_rt_sigprocmask:
		change_mask(context, c);
		return;
	case SYS_rt_sigsuspend:
		make_masked_call(context, c, 0);
		return;
	case SYS_ppoll:
		make_masked_call(context, c, 3);
		return;
	case SYS_epoll_pwait: case SYS_epoll_pwait2:
		make_masked_call(context, c, 4);
		return;
	case SYS_pselect6:
		make_pselect(context, c);
		return;
	case SYS_rt_sigaction:
		make_sigaction(context, c);
		return;
	case SYS_sigaltstack:
		change_altstack(context, c);
		return;
	case SYS_clone: case SYS_fork: case SYS_vfork:
		make_clone(context, c);
		return;
	case SYS_clone3:
		make_clone3(context, c);
		return;
	case SYS_mprotect: case SYS_pkey_mprotect:
		guard_note_foreign(c->arg[0], c->arg[0] + c->arg[1]);
		break;
	case SYS_exit:
		calls_ended(guard_open);
		break;
	case SYS_io_uring_setup: case SYS_io_uring_enter: case SYS_io_uring_register:
		guard_open_all();
		break;
	}
	make_call(context);
}

/* ctx: signal; SIGSEGV and SIGSYS are open */
NO_TSAN static void on_call(int signo, siginfo_t *info, void *context)
{
	if (info->si_code != REPORTED_CODE) {
		faults_pass_on(signo, info, context);
		return;
	}

	struct regs_args c = regs_args(context);

	/* relaxed: a counter. */
	atomic_fetch_add_explicit(&dispatch.ncalls, 1, memory_order_relaxed);
	dispatch_open_stack(regs_stack_pointer(context));
	calls_written(&c, guard_open);
	make(context, &c);
}

uint64_t dispatch_ncalls(void)
{
	/* relaxed: a counter. */
	return atomic_load_explicit(&dispatch.ncalls, memory_order_relaxed);
}

/* --- windows --- */

static void spare_stack(uintptr_t sp)
{
	guard_note_foreign(sp - BELOW_BYTES, sp + ABOVE_BYTES);
}

static void spare_altstack(const stack_t *s)
{
	uintptr_t base = (uintptr_t)s->ss_sp;

	if (!(s->ss_flags & SS_DISABLE))
		guard_note_foreign(base, base + s->ss_size);
}

/* Below its thread pointer and above is what the kernel writes for a thread at any time: restartable
 * sequences, the word that is cleared when it ends. Its handler is under way on one of the stacks: it
 * has answered, but may not have come to wait. */
static void spare_task(struct task *t, void *arg)
{
	(void)arg;
	if (!world_has_answered(t))
		return;
	guard_note_foreign(t->thread_pointer - ABOVE_BYTES, t->thread_pointer + ABOVE_BYTES);
	spare_stack(regs_stack_pointer(t->context));
	spare_stack((uintptr_t)t->context);
	spare_altstack(&t->context->uc_stack);
}

void dispatch_spare_stacks(void)
{
	uintptr_t pointer = (uintptr_t)__builtin_thread_pointer();
	stack_t s;

	guard_note_foreign(pointer - ABOVE_BYTES, pointer + ABOVE_BYTES);
	spare_stack((uintptr_t)__builtin_frame_address(0));
	if (!regs_syscall(SYS_sigaltstack, 0, (long)&s, 0, 0))
		spare_altstack(&s);
	world_visit_tasks(spare_task, NULL);
}

/* The caller, which is in no handler. */
static void join(void)
{
	uint64_t open = faults_open_signals() & ~(UINT64_C(1) << (scan_threads_signal() - 1));
	stack_t s;

	regs_syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&open, 0, sizeof open);
	if (is_spared(own_tid()))
		return;
	if (!regs_syscall(SYS_sigaltstack, 0, (long)&s, 0, 0) && altstacks_give(own_tid(), &s))
		regs_syscall(SYS_sigaltstack, (long)&s, 0, 0, 0);
	set_dispatch(DISPATCH_ON);
}

bool dispatch_begin(void)
{
	if (!faults_own(SIGSYS, on_call))
		return false;
	faults_open_masks();
	world_on_leave(leave_stop);
	join();
	/* relaxed: the others are stopped. */
	atomic_store_explicit(&dispatch.selector, BLOCK, memory_order_relaxed);
	return true;
}

void dispatch_end(void)
{
	/* relaxed: a call that is still reported is made all the same. */
	atomic_store_explicit(&dispatch.selector, ALLOW, memory_order_relaxed);
}

NO_TSAN void dispatch_fork_child(void)
{
	stack_t s = { 0 };

	guard_fork_child();
	/* relaxed: there is one thread. */
	atomic_store_explicit(&dispatch.selector, ALLOW, memory_order_relaxed);
	regs_syscall(SYS_sigaltstack, 0, (long)&s, 0, 0);
	altstacks_fork_child(own_tid(), &s);
	faults_fork_child();
}
