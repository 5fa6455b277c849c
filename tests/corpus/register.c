/* register.c: held by a register only: of a thread that runs, and of one that waits in the kernel.
 *
 * leaks: none
 */
#include "tests/corpus/corpus.h"

static volatile uintptr_t complement;
static volatile int nloaded;

static NOINLINE void make(void)
{
	complement = ~(uintptr_t)block(48);
}

static void *running(void *unused)
{
	(void)unused;
	apart(make);
	is_ready();
	__asm__ volatile("mov %0, %%r12; not %%r12; incl %1; 1: pause; jmp 1b"
	                 : : "m"(complement), "m"(nloaded) : "r12", "memory");
	return NULL;
}

static void *waiting(void *unused)
{
	(void)unused;
	apart(make);
	is_ready();
	/* 34 is pause() */
	__asm__ volatile("mov %0, %%r13; not %%r13; incl %1; 1: mov $34, %%eax; syscall; jmp 1b"
	                 : : "m"(complement), "m"(nloaded)
	                 : "r13", "rax", "rcx", "r11", "memory");
	return NULL;
}

int main(void)
{
	start_thread(running);
	while (nloaded < 1)
		sched_yield();
	start_thread(waiting);
	while (nloaded < 2)
		sched_yield();
	complement = 0;
	return 0;
}
