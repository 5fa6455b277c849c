/* jmp_buf.c: held only by a register that setjmp saved, in a static jmp_buf.
 *
 * leaks: none
 */
#include <setjmp.h>

#include "tests/corpus/corpus.h"

HOLDER jmp_buf saved;
HOLDER uintptr_t complement;

static NOINLINE void make(void)
{
	complement = ~(uintptr_t)block(48);
}

/* rbx is kept as it is; rbp, rsp and the address of return are not. */
static NOINLINE void save(void)
{
	__asm__ volatile("mov %1, %%rbx; not %%rbx; lea %0, %%rdi; "
	                 "sub $128, %%rsp; call _setjmp@PLT; add $128, %%rsp; xor %%ebx, %%ebx"
	                 : "=m"(saved) : "m"(complement)
	                 : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11",
	                   "memory", "cc");
}

int main(void)
{
	apart(make);
	apart(save);
	complement = 0;
	return 0;
}
