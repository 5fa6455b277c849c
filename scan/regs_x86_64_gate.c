/* regs_x86_64_gate.c: regs_syscall_gate() of regs.h for x86-64. */
#include "scan/regs.h"

#include <stddef.h>

struct regs_gate regs_gate;

/* The kernel changes r11 in any case. */
__asm__(".pushsection .text\n"
        ".globl regs_syscall_gate\n"
        ".hidden regs_syscall_gate\n"
        ".type regs_syscall_gate, @function\n"
        "regs_syscall_gate:\n\t"
        ".cfi_startproc\n\t"
        "cmpq 8+regs_gate(%rip), %rdi\n\t"
        "jae 1f\n\t"
        "movq regs_gate(%rip), %r11\n\t"
        "cmpb $0, (%r11,%rdi)\n\t"
        "je 1f\n\t"
        "pushq 8(%rsp)\n\t"
        ".cfi_adjust_cfa_offset 8\n\t"
        "callq *16+regs_gate(%rip)\n\t"
        "addq $8, %rsp\n\t"
        ".cfi_adjust_cfa_offset -8\n\t"
        "ret\n"
        "1:\n\t"
        "jmpq *24+regs_gate(%rip)\n\t"
        ".cfi_endproc\n"
        ".size regs_syscall_gate, . - regs_syscall_gate\n"
        ".popsection\n");
_Static_assert(offsetof(struct regs_gate, is_own) == 0 && offsetof(struct regs_gate, nnumbers) == 8
               && offsetof(struct regs_gate, own) == 16 && offsetof(struct regs_gate, next) == 24,
               "as in the assembler's text");
