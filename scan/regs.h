/* regs.h: what depends on the CPU. The Makefile links regs_$(ARCH).c. */
#ifndef SCAN_REGS_H
#define SCAN_REGS_H

#include "core/base.h"

#define REGS_NSAVED 8

/* The registers that a function must keep for its caller. ctx: any */
void regs_save(uintptr_t saved[REGS_NSAVED]);

/* Stack pointer of a thread that a signal interrupted; `context` is the handler's third argument.
 * ctx: any, signal */
uintptr_t regs_stack_pointer(const void *context);

/* Had the thread just come back from a system call? Then `result` is what that gave. No: it was
 * somewhere else, or the kernel is going to restart the call. ctx: any, signal */
bool regs_is_after_call(const void *context, long *result);

/* Signals that are blocked again when the handler returns: bit n - 1 is signal n. ctx: any, signal */
uint64_t regs_blocked(const void *context);

/* Calls fn with the stack that ends at `top`. All registers that a function must keep are on the
 * caller's stack meanwhile, which is alive from *frame on. ctx: any */
void regs_call_on(uintptr_t top, uintptr_t *frame, void (*fn)(void *arg), void *arg);

/* Bytes below the stack pointer that a function may use. ctx: any */
size_t regs_red_zone(void);

/* What the compiler's tables call registers: the frame pointer, the stack pointer, and the place of
 * the return address, which is the word below the address that the stack pointer has after the
 * return. */
extern const struct regs_dwarf {
	unsigned frame, stack, back;
} regs_dwarf;

/* A function that was just entered: where it returns to, and the caller's stack and frame pointer
 * after that. `frame` is what __builtin_frame_address(0) says there. */
struct regs_call {
	uintptr_t pc, stack, frame;
};

HOT struct regs_call regs_caller(const void *frame)
{
	const uintptr_t *at = frame;

	return (struct regs_call){ .pc = at[1], .stack = (uintptr_t)(at + 2), .frame = at[0] };
}

/* A system call that touches no thread-local: -errno on failure. ctx: any, signal */
long regs_syscall6(long number, long a, long b, long c, long d, long e, long f);

static inline long regs_syscall(long number, long a, long b, long c, long d)
{
	return regs_syscall6(number, a, b, c, d, 0, 0);
}

/* Stands in for libc's syscall(): the numbers below `nnumbers` that is_own[] has go to `own`, all others
 * to `next`, by a jump with the registers and the stack as they were. For most callers give fewer than the
 * seven arguments: where the last one would stand is a variable of theirs, which another thread may be
 * writing, and which no compiler's code may write back. ctx: any */
typedef long regs_syscall_fn(long number, long a, long b, long c, long d, long e, long f);
void regs_syscall_gate(void);
extern struct regs_gate {
	const bool *is_own;
	unsigned long nnumbers;
	regs_syscall_fn *own, *next;
} regs_gate;                                    /* constant from before the first call on */

/* Does libc's record of a thread stand at `at`? Its first words are `word`. ctx: any */
#define REGS_RECORD_WORDS 3
bool regs_is_thread_record(uintptr_t at, const uintptr_t word[REGS_RECORD_WORDS]);

/* Relocations that lead to a function of another module. ctx: any */
enum regs_import {
	REGS_IMPORT_NONE,
	REGS_IMPORT_ADDRESS,                    /* the word is the function's address */
	REGS_IMPORT_CALL,                       /* or leads to the loader until the first call */
};
enum regs_import regs_import(uint32_t relocation_type);

#endif
