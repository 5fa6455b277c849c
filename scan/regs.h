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

/* Bytes below the stack pointer that a function may use. ctx: any */
size_t regs_red_zone(void);

/* A system call that touches no thread-local: -errno on failure. ctx: any, signal */
long regs_syscall(long number, long a, long b, long c, long d);

/* Does libc's record of a thread stand at `at`? Its first words are `word`. ctx: any */
#define REGS_RECORD_WORDS 3
bool regs_is_thread_record(uintptr_t at, const uintptr_t word[REGS_RECORD_WORDS]);

#endif
