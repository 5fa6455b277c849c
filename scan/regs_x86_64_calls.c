/* regs_x86_64_calls.c: regs_calls.h for x86-64.
 *
 * The instruction of a system call leaves its successor's address in rcx and keeps all other registers
 * but rax and r11, so that rcx may hold the way back. A child of vfork() writes over the stack that its
 * parent waits on: there the way back is in a vector register, which calls keep.
 *
 * Unwinders know the handlers' way back by its bytes, like libc's; hence no frame description there,
 * and a byte in front.
 */
#include "scan/regs_calls.h"

#include "scan/regs.h"

#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>

#define RED_ZONE 128
#define CALL_BYTES 2                            /* of the instruction */
#define SA_RESTORER 0x04000000

/* At the stack pointer while a stub runs. */
struct detour {
	uintptr_t back;
	long kind;
	long changed;                           /* the argument, and what it was */
	uintptr_t original;
	char room[REGS_ROOM_BYTES];
};

#define FRAME_BYTES 288
_Static_assert(sizeof(struct detour) + RED_ZONE == FRAME_BYTES, "as in the assembler's text");

__asm__(".pushsection .text\n"
        /* Not in the range: the kernel reports the rt_sigreturn of the program's handlers. */
        ".globl regs_programs_restorer\n"
        ".hidden regs_programs_restorer\n"
        "nop\n"
        "regs_programs_restorer:\n\t"
        "movq $15, %rax\n\t"
        "syscall\n\t"
        "ud2\n"
        ".balign 16\n"
        ".globl regs_calls_from, regs_calls_to, regs_syscall6, regs_clone\n"
        ".globl regs_restorer, regs_stub_call, regs_stub_clone, regs_stub_vfork\n"
        ".globl regs_stub_return\n"
        ".hidden regs_calls_from, regs_calls_to, regs_syscall6, regs_clone\n"
        ".hidden regs_restorer, regs_stub_call, regs_stub_clone, regs_stub_vfork\n"
        ".hidden regs_stub_return, regs_child\n"
        ".type regs_syscall6, @function\n"
        ".type regs_clone, @function\n"
        "regs_calls_from:\n"

        "regs_syscall6:\n"
        ".cfi_startproc\n"
        "movq %rdi, %rax\n\t"
        "movq %rsi, %rdi\n\t"
        "movq %rdx, %rsi\n\t"
        "movq %rcx, %rdx\n\t"
        "movq %r8, %r10\n\t"
        "movq %r9, %r8\n\t"
        "movq 8(%rsp), %r9\n\t"
        "syscall\n\t"
        "ret\n"
        ".cfi_endproc\n"

        /* flags, top, tid, fn, arg */
        "regs_clone:\n"
        ".cfi_startproc\n"
        "movq %r8, %r9\n\t"                     /* arg */
        "movq %fs:0, %r8\n\t"                   /* the thread pointer: shared */
        "movq %rdx, %r10\n\t"
        "movl $56, %eax\n\t"
        "movq %rcx, %xmm0\n\t"                  /* fn */
        "syscall\n\t"
        "testq %rax, %rax\n\t"
        "jz 1f\n\t"
        "ret\n"
        "1:\n\t"
        ".cfi_undefined rip\n\t"
        "xorl %ebp, %ebp\n\t"
        "movq %r9, %rdi\n\t"
        "movq %xmm0, %rax\n\t"
        "callq *%rax\n\t"
        "movl %eax, %edi\n\t"
        "movl $60, %eax\n\t"
        "syscall\n\t"
        "ud2\n"
        ".cfi_endproc\n"

        "nop\n"
        "regs_restorer:\n\t"
        "movq $15, %rax\n\t"
        "syscall\n\t"
        "ud2\n"

        "regs_stub_return:\n\t"
        "syscall\n\t"
        "ud2\n"

        "regs_stub_call:\n"
        ".cfi_startproc\n"
        ".cfi_signal_frame\n"
        ".cfi_def_cfa rsp, 288\n"
        ".cfi_offset rip, -288\n"
        "syscall\n"
        "2:\n\t"
        "movq (%rsp), %rcx\n\t"
        "leaq 288(%rsp), %rsp\n\t"
        ".cfi_def_cfa rsp, 0\n"
        ".cfi_register rip, rcx\n"
        "jmpq *%rcx\n"
        ".cfi_endproc\n"

        "regs_stub_clone:\n"
        ".cfi_startproc\n"
        ".cfi_signal_frame\n"
        ".cfi_def_cfa rsp, 288\n"
        ".cfi_offset rip, -288\n"
        "syscall\n\t"
        "testq %rax, %rax\n\t"
        "jnz 2b\n\t"
        "pushq %rbp\n\t"
        ".cfi_undefined rip\n"
        "movq %rsp, %rbp\n\t"
        "pushq %rdi\n\t"
        "pushq %rsi\n\t"
        "pushq %rdx\n\t"
        "pushq %r8\n\t"
        "pushq %r9\n\t"
        "pushq %r10\n\t"
        "movq 16(%rbp), %rdi\n\t"               /* kind */
        "andq $-16, %rsp\n\t"
        "callq regs_child\n\t"
        "leaq -48(%rbp), %rsp\n\t"
        "popq %r10\n\t"
        "popq %r9\n\t"
        "popq %r8\n\t"
        "popq %rdx\n\t"
        "popq %rsi\n\t"
        "popq %rdi\n\t"
        "popq %rbp\n\t"
        "xorl %eax, %eax\n\t"
        "jmp 2b\n"
        ".cfi_endproc\n"

        "regs_stub_vfork:\n"
        ".cfi_startproc\n"
        ".cfi_signal_frame\n"
        ".cfi_def_cfa rsp, 0\n"
        ".cfi_register rip, rcx\n"
        "movq %rcx, %xmm15\n\t"
        "syscall\n\t"
        "movq %xmm15, %rcx\n\t"
        "jmpq *%rcx\n"
        ".cfi_endproc\n"
        "regs_calls_to:\n"
        ".popsection\n");

extern const char regs_restorer[], regs_stub_call[], regs_stub_clone[], regs_stub_vfork[],
	regs_stub_return[];

#define NO_TSAN __attribute__((no_sanitize("thread")))

static const uint8_t argument_register[REGS_NARGS] = { REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8,
                                                       REG_R9 };

static greg_t *registers_of(void *context)
{
	return ((ucontext_t *)context)->uc_mcontext.gregs;
}

static uintptr_t word_of(const void *context, int which)
{
	return (uintptr_t)((const ucontext_t *)context)->uc_mcontext.gregs[which];
}

NO_TSAN long regs_sigaction(int signo, const struct regs_action *new, struct regs_action *old)
{
	return regs_syscall(SYS_rt_sigaction, signo, (long)new, (long)old, sizeof new->mask);
}

long regs_catch(int signo, regs_handler_fn *handler, int flags, uint64_t mask)
{
	struct regs_action action = {
		.handler = (uintptr_t)handler,
		.flags = (unsigned long)flags | SA_SIGINFO | SA_RESTORER,
		.restorer = (uintptr_t)regs_restorer,
		.mask = mask,
	};

	return regs_sigaction(signo, &action, NULL);
}

NO_TSAN struct regs_args regs_args(const void *context)
{
	struct regs_args c = { .number = (long)word_of(context, REG_RAX) };

	for (unsigned i = 0; i < REGS_NARGS; i++)
		c.arg[i] = word_of(context, argument_register[i]);
	return c;
}

/* The handler's return has taken one word off the frame, which the context follows. */
NO_TSAN void *regs_returning_to(const void *context)
{
	return (void *)word_of(context, REG_RSP);
}

/* A page fault, and its error code says that it was a write; to a page without memory perhaps. */
NO_TSAN bool regs_is_write(const void *context)
{
	return word_of(context, REG_TRAPNO) == 14 && (word_of(context, REG_ERR) & 2);
}

uint64_t *regs_mask(void *context)
{
	return (uint64_t *)&((ucontext_t *)context)->uc_sigmask;
}

stack_t *regs_altstack(void *context)
{
	return &((ucontext_t *)context)->uc_stack;
}

NO_TSAN void regs_set_argument(void *context, unsigned argument, uintptr_t value)
{
	registers_of(context)[argument_register[argument]] = (greg_t)value;
}

NO_TSAN void regs_give_result(void *context, long result)
{
	registers_of(context)[REG_RAX] = result;
}

NO_TSAN static struct detour *frame_of(const void *context)
{
	return (struct detour *)(word_of(context, REG_RSP) - FRAME_BYTES);
}

void *regs_room(void *context)
{
	return frame_of(context)->room;
}

NO_TSAN void regs_detour(void *context, enum regs_stub stub, int changed, uintptr_t value, long kind)
{
	static const char *const entry[] = { regs_stub_call, regs_stub_clone, regs_stub_vfork,
	                                     regs_stub_return };
	greg_t *g = registers_of(context);
	struct detour *d = frame_of(context);
	greg_t back = g[REG_RIP];

	g[REG_RIP] = (greg_t)entry[stub];
	if (stub == REGS_STUB_RETURN)
		return;
	if (stub == REGS_STUB_VFORK) {
		g[REG_RCX] = back;
		return;
	}
	d->back = (uintptr_t)back;
	d->kind = kind;
	d->changed = changed;
	g[REG_RSP] = (greg_t)d;
	if (changed < 0)
		return;
	d->original = (uintptr_t)g[argument_register[changed]];
	g[argument_register[changed]] = (greg_t)value;
}

NO_TSAN uintptr_t regs_prepare_child(const void *context, uintptr_t top, long kind)
{
	struct detour *d = (struct detour *)(top - FRAME_BYTES);

	d->back = word_of(context, REG_RIP);
	d->kind = kind;
	d->changed = -1;
	return (uintptr_t)d;
}

NO_TSAN void regs_undo_detour(void *context)
{
	greg_t *g = registers_of(context);
	const struct detour *d = (const struct detour *)g[REG_RSP];

	if (g[REG_RIP] != (greg_t)regs_stub_call && g[REG_RIP] != (greg_t)regs_stub_clone)
		return;
	if (d->changed >= 0)
		g[argument_register[d->changed]] = (greg_t)d->original;
	g[REG_RIP] = (greg_t)d->back - CALL_BYTES;
	g[REG_RSP] += FRAME_BYTES;
}

NO_TSAN void *regs_stub_returning_to(const void *context)
{
	return word_of(context, REG_RIP) == (uintptr_t)regs_stub_return ? regs_returning_to(context)
	                                                                : NULL;
}

/* --- a handler of the program's --- */

/* As the kernel lays it out. */
struct signal_frame {
	uintptr_t restorer;
	char context[304];                      /* shorter than libc's */
	siginfo_t info;
};

#define FP_ALIGN 64
#define FP_BYTES 512
#define FP_MAGIC_AT 464                         /* then the size of what goes beyond FP_BYTES as well */
#define FP_MAGIC 0x46505853
#define FLAGS_CLEARED 0x10500                   /* direction, trap, resume */

static size_t fp_bytes(const char *fp)
{
	uint32_t words[2];

	memcpy(words, fp + FP_MAGIC_AT, sizeof words);
	return words[0] == FP_MAGIC ? words[1] : FP_BYTES;
}

static bool is_within(const stack_t *s, uintptr_t p)
{
	return p - (uintptr_t)s->ss_sp < s->ss_size;
}

#define SAME_STACK KIB(64)
#define OUR_FRAMES KIB(1)                       /* of what is called from here */

/* Our own handler may run right below the interrupted frame: then the program's comes below it. */
static uintptr_t handlers_stack(const ucontext_t *c, const struct regs_action *action)
{
	uintptr_t sp = word_of(c, REG_RSP), here = (uintptr_t)__builtin_frame_address(0);

	if (!(action->flags & SA_ONSTACK) || (c->uc_stack.ss_flags & SS_DISABLE)
	    || is_within(&c->uc_stack, sp))
		sp -= RED_ZONE;
	else
		sp = (uintptr_t)c->uc_stack.ss_sp + c->uc_stack.ss_size;
	return sp - here < SAME_STACK ? here - OUR_FRAMES : sp;
}

void regs_push_handler(void *context, int signo, const siginfo_t *info,
                       const struct regs_action *action)
{
	ucontext_t *c = context;
	greg_t *g = registers_of(context);
	uintptr_t sp = handlers_stack(c, action);
	const char *fp = (const char *)c->uc_mcontext.fpregs;
	char *fp_copy = NULL;

	if (fp) {
		sp = align_down(sp - fp_bytes(fp), FP_ALIGN);
		fp_copy = (char *)sp;
		memmove(fp_copy, fp, fp_bytes(fp));
	}
	/* A function is entered with the stack aligned below the word of its return address. */
	sp = align_down(sp - sizeof(struct signal_frame), 16) - 8;

	struct signal_frame *f = (struct signal_frame *)sp;
	ucontext_t *copy = (ucontext_t *)f->context;

	memcpy(f->context, c, sizeof f->context);
	copy->uc_mcontext.fpregs = (fpregset_t)fp_copy;
	f->info = *info;
	f->restorer = action->restorer;
	g[REG_RIP] = (greg_t)action->handler;
	g[REG_RSP] = (greg_t)sp;
	g[REG_RDI] = signo;
	g[REG_RSI] = (greg_t)&f->info;
	g[REG_RDX] = (greg_t)copy;
	g[REG_RAX] = 0;
	g[REG_EFL] &= ~(greg_t)FLAGS_CLEARED;
	*regs_mask(context) |= action->mask;
	if (!(action->flags & SA_NODEFER))
		*regs_mask(context) |= UINT64_C(1) << (signo - 1);
}
