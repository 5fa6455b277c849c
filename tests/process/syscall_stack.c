/* syscall_stack.c: the word of the stack where the seventh argument of syscall() would stand is the caller's
 * own where it gives fewer, and another thread may write it meanwhile: the library leaves it alone.
 *
 * variants: SPANGC_MODE=gc | SPANGC_MODE=leaks SPANGC_REPORT=/dev/null
 */
#include "tests/process/process.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#define NCALLS 500000L

/* `n` calls with the number alone; at `where` the address of the word, 0 when they are over. */
extern void call_often(long number, uintptr_t _Atomic *where, long n);
__asm__(".pushsection .text\n"
        "call_often:\n"
        "	push %rbx\n"
        "	push %rbp\n"
        "	push %r12\n"
        "	push %r13\n"
        "	sub $24, %rsp\n"
        "	mov %rdi, %r12\n"
        "	mov %rsi, %r13\n"
        "	mov %rdx, %rbx\n"
        "	movq $0, (%rsp)\n"
        "	mov %rsp, (%r13)\n"
        "1:	mov %r12, %rdi\n"
        "	xor %eax, %eax\n"
        "	call syscall@PLT\n"
        "	dec %rbx\n"
        "	jnz 1b\n"
        "	movq $0, (%r13)\n"
        "2:	cmpq $0, 8(%r13)\n"             /* until the other has seen it */
        "	je 2b\n"
        "	add $24, %rsp\n"
        "	pop %r13\n"
        "	pop %r12\n"
        "	pop %rbp\n"
        "	pop %rbx\n"
        "	ret\n"
        ".popsection\n");

static struct {
	uintptr_t _Atomic where;
	uint64_t _Atomic is_over;
} shared;

static uint64_t nwrites, nundone;

static void *write_it(void *arg)
{
	while (!shared.where)
		;
	for (uintptr_t at; (at = shared.where) != 0; nwrites++) {
		uint64_t _Atomic *word = (uint64_t _Atomic *)at;

		*word = nwrites + 1;
		for (int i = 0; i < 20; i++)
			__asm__ volatile("");
		nundone += *word != nwrites + 1;
	}
	shared.is_over = 1;
	return arg;
}

int main(void)
{
	pthread_t other;

	watchdog(100);
	CHECK(pthread_create(&other, NULL, write_it, NULL) == 0);
	call_often(SYS_getppid, &shared.where, NCALLS);
	CHECK(pthread_join(other, NULL) == 0);
	CHECKF(nundone == 0, "%lu of %lu writes", (unsigned long)nundone, (unsigned long)nwrites);
	return 0;
}
