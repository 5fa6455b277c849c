/* coroutine_mmap.c: a coroutine that waits holds a block in its frame; its stack is mapped memory.
 *
 * leaks: none
 */
#include <sys/mman.h>
#include <ucontext.h>

#include "tests/corpus/corpus.h"

#define STACK_BYTES (512 << 10)

static ucontext_t coroutine, starter;

static void in_a_frame(void)
{
	void *volatile held = block_alone(48);

	CLEAR_REGISTERS();      /* swapcontext saves them */
	swapcontext(&coroutine, &starter);
	hide(held);
}

static NOINLINE void start(void)
{
	char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(stack != MAP_FAILED && getcontext(&coroutine) == 0);
	coroutine.uc_stack.ss_sp = stack;
	coroutine.uc_stack.ss_size = STACK_BYTES;
	makecontext(&coroutine, in_a_frame, 0);
	swapcontext(&starter, &coroutine);
}

int main(void)
{
	apart(start);
	return 0;
}
