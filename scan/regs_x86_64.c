/* regs_x86_64.c: regs.h for x86-64. What a signal handler calls is not instrumented: it may have
 * interrupted ThreadSanitizer. */
#include "scan/regs.h"

#include <elf.h>
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

/* The instruction leaves its successor's address in rcx. */
__attribute__((no_sanitize("thread"))) bool regs_is_after_call(const void *context, long *result)
{
	const ucontext_t *c = context;

	*result = c->uc_mcontext.gregs[REG_RAX];
	return c->uc_mcontext.gregs[REG_RCX] == c->uc_mcontext.gregs[REG_RIP];
}

__attribute__((no_sanitize("thread"))) uint64_t regs_blocked(const void *context)
{
	const ucontext_t *c = context;

	return c->uc_sigmask.__val[0];
}

/* Not into the red zone, which the compiler may use. */
__attribute__((noinline)) void regs_call_on(uintptr_t top, uintptr_t *frame,
                                            void (*fn)(void *arg), void *arg)
{
	__asm__ volatile("leaq -128(%%rsp), %%rsp\n\t"
	                 "pushq %%rbp\n\t"
	                 "pushq %%rbx\n\t"
	                 "pushq %%r12\n\t"
	                 "pushq %%r13\n\t"
	                 "pushq %%r14\n\t"
	                 "pushq %%r15\n\t"
	                 "movq %%rsp, %%rbx\n\t"
	                 "movq %%rsp, (%%rdx)\n\t"
	                 "movq %%rsi, %%rsp\n\t"
	                 "callq *%%rax\n\t"
	                 "movq %%rbx, %%rsp\n\t"
	                 "popq %%r15\n\t"
	                 "popq %%r14\n\t"
	                 "popq %%r13\n\t"
	                 "popq %%r12\n\t"
	                 "popq %%rbx\n\t"
	                 "popq %%rbp\n\t"
	                 "leaq 128(%%rsp), %%rsp\n\t"
	                 : "+S"(top), "+a"(fn), "+D"(arg), "+d"(frame)
	                 :
	                 : "rcx", "r8", "r9", "r10", "r11", "memory", "cc",
	                   "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
	                   "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

size_t regs_red_zone(void)
{
	return 128;
}

/* The ABI puts the record's own address in its first word (variant II of TLS), glibc in the third
 * as well. */
bool regs_is_thread_record(uintptr_t at, const uintptr_t word[REGS_RECORD_WORDS])
{
	return word[0] == at && word[2] == at;
}

enum regs_import regs_import(uint32_t relocation_type)
{
	if (relocation_type == R_X86_64_JUMP_SLOT)
		return REGS_IMPORT_CALL;
	if (relocation_type == R_X86_64_GLOB_DAT || relocation_type == R_X86_64_64)
		return REGS_IMPORT_ADDRESS;
	return REGS_IMPORT_NONE;
}
