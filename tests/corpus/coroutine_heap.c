/* coroutine_heap.c: a coroutine that waits holds a block in its frame; its stack is a
 * block of the heap.
 *
 * leaks: none
 */
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
	char *stack = block(STACK_BYTES);

	CHECK(stack && getcontext(&coroutine) == 0);
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
