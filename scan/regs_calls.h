/* regs_calls.h: system calls in a signal's context, for the CPU. What is said of regs.h holds here.
 *
 * A call that the kernel did not make but reported by SIGSYS is made by a stub: the thread goes on there
 * when the handler returns, and from there to where it was. Its stack is lowered meanwhile by a
 * detour's frame, behind the red zone, which holds the way back and has room for what the call is
 * given in place of the program's. The stubs, regs_syscall() and the handlers' way back lie in one range
 * of code, which the kernel is told to leave alone.
 */
#ifndef SCAN_REGS_CALLS_H
#define SCAN_REGS_CALLS_H

#include "core/base.h"

#include <signal.h>

#define REGS_NARGS 6
#define REGS_ROOM_BYTES 128

/* The range. And where a handler of the program's may return to, as it does to libc's code: outside. */
extern const char regs_calls_from[], regs_calls_to[], regs_programs_restorer[];

/* A thread of the process without thread-locals of its own: clone(2) with `flags`; it calls fn(arg) on
 * the stack that ends at `top`, and ends. Its id, or -errno. ctx: any */
long regs_clone(unsigned long flags, void *top, _Atomic uint32_t *tid, int (*fn)(void *arg), void *arg);

/* As the kernel has it. */
struct regs_action {
	uintptr_t handler;
	unsigned long flags;
	uintptr_t restorer;
	uint64_t mask;                          /* bit n - 1 is signal n */
};

/* rt_sigaction(2), either may be NULL; and a handler that returns within the range. 0 or -errno.
 * ctx: any, signal */
long regs_sigaction(int signo, const struct regs_action *new, struct regs_action *old);
typedef void regs_handler_fn(int signo, siginfo_t *info, void *context);
long regs_catch(int signo, regs_handler_fn *handler, int flags, uint64_t mask);

/* --- the rest: ctx: signal, `context` is the third argument of the handler --- */

struct regs_args {
	long number;
	uintptr_t arg[REGS_NARGS];
};

/* The call that SIGSYS reported. */
struct regs_args regs_args(const void *context);

/* rt_sigreturn: the context that it is going to restore. */
void *regs_returning_to(const void *context);

/* Was the fault a write? */
bool regs_is_write(const void *context);

uint64_t *regs_mask(void *context);
stack_t *regs_altstack(void *context);

/* The call's argument is another one. */
void regs_set_argument(void *context, unsigned argument, uintptr_t value);

/* The thread goes on as if the call had given `result`. */
void regs_give_result(void *context, long result);

enum regs_stub {
	REGS_STUB_CALL,
	REGS_STUB_CLONE,                        /* the child calls regs_child(kind) first */
	REGS_STUB_VFORK,                        /* the child shares the stack: there is no frame */
	REGS_STUB_RETURN,                       /* rt_sigreturn */
};

/* REGS_ROOM_BYTES in the frame that the detour is going to have. */
void *regs_room(void *context);

/* The thread makes the call by a stub when the handler returns. Argument `changed` (-1: none) is `value`
 * there; `kind` is what a child is told. */
void regs_detour(void *context, enum regs_stub stub, int changed, uintptr_t value, long kind);

/* A child's stack begins at `top`: as regs_detour() prepares the parent's; where it begins then. */
uintptr_t regs_prepare_child(const void *context, uintptr_t top, long kind);

/* Is the thread in a stub whose call is still to be made, or to be made again? Then it is where it was, and
 * is going to make the call itself. In front of an rt_sigreturn: the context that this restores. */
void regs_undo_detour(void *context);
void *regs_stub_returning_to(const void *context);

/* The handler of `action` runs when ours returns, as if the kernel had called it. */
void regs_push_handler(void *context, int signo, const siginfo_t *info,
                       const struct regs_action *action);

/* What a new thread, or a copy of the process, does first: see regs_prepare_child(). It touches no
 * thread-local. Of dispatch.c. */
void regs_child(long kind);

#endif
