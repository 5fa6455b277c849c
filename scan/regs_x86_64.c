/* regs_x86_64.c: regs.h for x86-64. What a signal handler calls is not instrumented: it may have
 * interrupted ThreadSanitizer. */
#include "scan/regs.h"

#include <ucontext.h>

const struct regs_dwarf regs_dwarf = { .frame = 6, .stack = 7, .back = 16 };

void regs_save(uintptr_t saved[REGS_NSAVED])
{
	__asm__ volatile("movq %%rbx, 0(%0)\n\t"
	                 "movq %%rbp, 8(%0)\n\t"
	                 "movq %%r12, 16(%0)\n\t"
	                 "movq %%r13, 24(%0)\n\t"
	                 "movq %%r14, 32(%0)\n\t"
	                 "movq %%r15, 40(%0)\n\t"
	                 : : "r"(saved) : "memory");
	saved[6] = 0;
	saved[7] = 0;
}

uintptr_t regs_stack_pointer(const void *context)
{
	const ucontext_t *c = context;

	return (uintptr_t)c->uc_mcontext.gregs[REG_RSP];
}

size_t regs_red_zone(void)
{
	return 128;
}

__attribute__((no_sanitize("thread"))) long regs_syscall(long number, long a, long b, long c, long d)
{
	register long fourth __asm__("r10") = d;
	long result;

	__asm__ volatile("syscall"
	                 : "=a"(result)
	                 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
	                 : "rcx", "r11", "memory");
	return result;
}

/* The ABI puts the record's own address in its first word (variant II of TLS), glibc in the third
 * as well. */
bool regs_is_thread_record(uintptr_t at, const uintptr_t word[REGS_RECORD_WORDS])
{
	return word[0] == at && word[2] == at;
}
