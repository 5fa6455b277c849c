/* faults.c: see faults.h.
 *
 * Reached from preload (sigaction) and from the handlers of dirty_mprotect.c and dispatch.c. Depends on
 * the kernel only. What the program has set is guarded by a lock of one word, held with signals
 * blocked and for a few instructions.
 */
#include "scan/faults.h"

#include "core/sigmask.h"
#include "scan/guard.h"
#include "scan/regs.h"
#include "scan/threads.h"

#include <string.h>
#include <sys/syscall.h>

#define NO_TSAN __attribute__((no_sanitize("thread")))

#define BIT(signo) (UINT64_C(1) << ((signo) - 1))
#define OURS_MASK (~(BIT(SIGSEGV) | BIT(SIGSYS)))
#define NSIGNALS 64
#define SA_RESTORER 0x04000000

static struct own {
	int signo;
	regs_handler_fn *_Atomic handler;       /* NULL: not ours yet */
	_Atomic bool is_locked;
	struct regs_action program;
} owns[] = { { .signo = SIGSEGV }, { .signo = SIGSYS } };

NO_TSAN uint64_t faults_open_signals(void)
{
	return ~OURS_MASK | BIT(scan_threads_signal());
}

NO_TSAN static struct own *find(int signo)
{
	return signo == SIGSEGV ? &owns[0] : signo == SIGSYS ? &owns[1] : NULL;
}

NO_TSAN static regs_handler_fn *handler_of(struct own *o)
{
	/* relaxed: set in a stop. */
	return atomic_load_explicit(&o->handler, memory_order_relaxed);
}

NO_TSAN bool faults_owns(int signo)
{
	struct own *o = find(signo);

	return o && handler_of(o);
}

bool faults_own(int signo, regs_handler_fn *handler)
{
	struct own *o = find(signo);
	struct regs_action now;

	if (regs_sigaction(signo, NULL, &now))
		return false;
	if (now.handler != (uintptr_t)handler)
		o->program = now;
	/* relaxed: see handler_of(). */
	atomic_store_explicit(&o->handler, handler, memory_order_relaxed);
	return !regs_catch(signo, handler, SA_ONSTACK | SA_NODEFER | SA_RESTART, OURS_MASK);
}

void faults_open_masks(void)
{
	uint64_t open = faults_open_signals();

	for (int signo = 1; signo <= NSIGNALS; signo++) {
		struct regs_action a;

		if (signo == scan_threads_signal() || faults_owns(signo) || regs_sigaction(signo, NULL, &a)
		    || a.handler <= (uintptr_t)SIG_IGN || !(a.mask & open))
			continue;
		a.mask &= ~open;
		regs_sigaction(signo, &a, NULL);
	}
}

/* --- masks --- */

/* One bit for each of the two, by thread id, as in cuts.c. */
#define NTHREADS 65536

static _Atomic uint8_t hidden[NTHREADS];

NO_TSAN static _Atomic uint8_t *hidden_of(int tid)
{
	return &hidden[(unsigned)tid % NTHREADS];
}

NO_TSAN static uint8_t bits_of(uint64_t mask)
{
	return (uint8_t)((mask & BIT(SIGSEGV) ? 1 : 0) | (mask & BIT(SIGSYS) ? 2 : 0));
}

NO_TSAN static uint64_t mask_of(uint8_t bits)
{
	return (bits & 1 ? BIT(SIGSEGV) : 0) | (bits & 2 ? BIT(SIGSYS) : 0);
}

NO_TSAN void faults_hide(int tid, uint64_t *mask)
{
	/* relaxed, here and below: the thread's own. */
	atomic_fetch_or_explicit(hidden_of(tid), bits_of(*mask), memory_order_relaxed);
	*mask &= ~faults_open_signals();
}

NO_TSAN void faults_hide_only(int tid, uint64_t *mask)
{
	atomic_store_explicit(hidden_of(tid), bits_of(*mask), memory_order_relaxed);
	*mask &= ~faults_open_signals();
}

NO_TSAN void faults_thread_begins(int tid)
{
	atomic_store_explicit(hidden_of(tid), 0, memory_order_relaxed);
}

NO_TSAN void faults_change_mask(int tid, int how, const uint64_t *set, uint64_t *old, uint64_t *mask)
{
	uint8_t bits = atomic_load_explicit(hidden_of(tid), memory_order_relaxed);
	uint64_t seen = *mask | mask_of(bits), wanted = seen;

	if (set)
		wanted = how == SIG_BLOCK ? seen | *set : how == SIG_UNBLOCK ? seen & ~*set : *set;
	if (old)
		*old = seen;
	/* libc's own way to keep out everything for a moment: what the program wants does not change. */
	if (!set || how == SIG_UNBLOCK || *set != UINT64_MAX)
		atomic_store_explicit(hidden_of(tid), bits_of(wanted), memory_order_relaxed);
	*mask = wanted & ~faults_open_signals();
}

/* --- actions --- */

NO_TSAN static void lock(struct own *o)
{
	/* acquire: pairs with the release in unlock(). */
	while (atomic_exchange_explicit(&o->is_locked, true, memory_order_acquire))
		regs_syscall(SYS_sched_yield, 0, 0, 0, 0);
}

NO_TSAN static void unlock(struct own *o)
{
	/* release: pairs with the acquire in lock(). */
	atomic_store_explicit(&o->is_locked, false, memory_order_release);
}

NO_TSAN void faults_change(int signo, const struct regs_action *new, struct regs_action *old)
{
	struct own *o = find(signo);

	lock(o);
	*old = o->program;
	if (new)
		o->program = *new;
	unlock(o);
}

void faults_sigaction(int signo, const struct sigaction *new, struct sigaction *old)
{
	struct regs_action to, from;
	struct sigmask saved;

	if (new) {                              /* copies: the program's memory may be protected */
		to.handler = (uintptr_t)new->sa_handler;
		to.flags = (unsigned)new->sa_flags | SA_RESTORER;
		to.restorer = (uintptr_t)regs_programs_restorer;
		memcpy(&to.mask, &new->sa_mask, sizeof to.mask);
	}
	sigmask_block(&saved);
	faults_change(signo, new ? &to : NULL, &from);
	sigmask_restore(&saved);
	if (!old)
		return;
	memset(old, 0, sizeof *old);
	old->sa_handler = (void (*)(int))from.handler;
	old->sa_flags = (int)(from.flags & ~(unsigned long)SA_RESTORER);
	memcpy(&old->sa_mask, &from.mask, sizeof from.mask);
}

NO_TSAN static int own_tid(void)
{
	return (int)regs_syscall(SYS_gettid, 0, 0, 0, 0);
}

/* The signal waits until our handler has returned: then the process dies where it stood. */
NO_TSAN static void die(int signo, siginfo_t *info)
{
	const struct regs_action action = { .handler = (uintptr_t)SIG_DFL };
	uint64_t bit = BIT(signo);
	long pid = regs_syscall(SYS_getpid, 0, 0, 0, 0), tid = regs_syscall(SYS_gettid, 0, 0, 0, 0);

	guard_open_all();                       /* no other thread dies of it in its place */
	regs_syscall(SYS_rt_sigprocmask, SIG_BLOCK, (long)&bit, 0, sizeof bit);
	regs_sigaction(signo, &action, NULL);
	/* With the same words; but the kernel lets only the first thread say those of a fault or a kill. */
	if (regs_syscall(SYS_rt_tgsigqueueinfo, pid, tid, signo, (long)info))
		regs_syscall(SYS_tgkill, pid, tid, signo, 0);
}

NO_TSAN static struct regs_action take_action(struct own *o)
{
	struct regs_action a;

	lock(o);
	a = o->program;
	if (a.flags & (unsigned)SA_RESETHAND)
		o->program = (struct regs_action){ 0 };
	unlock(o);
	return a;
}

NO_TSAN void faults_pass_on(int signo, siginfo_t *info, void *context)
{
	struct regs_action action = take_action(find(signo));

	if (action.handler == (uintptr_t)SIG_IGN && info->si_code <= 0)
		return;                         /* somebody sent it */
	if (action.handler <= (uintptr_t)SIG_IGN) {
		die(signo, info);
		return;
	}
	*regs_mask(context) |= mask_of(atomic_load_explicit(hidden_of(own_tid()), memory_order_relaxed));
	regs_push_handler(context, signo, info, &action);
	*regs_mask(context) &= ~faults_open_signals();
}

void faults_fork_child(void)
{
	for (unsigned i = 0; i < sizeof owns / sizeof *owns; i++)
		unlock(&owns[i]);
}
