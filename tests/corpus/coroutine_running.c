/* coroutine_running.c: a thread is stopped, and another one calls exit(), while they run on stacks
 * that are blocks of the heap; what their first stacks hold is held.
 *
 * leaks: none
 */
#include <ucontext.h>

#include "tests/corpus/corpus.h"

#define STACK_BYTES (512 << 10)

static void waits(void)
{
	void *volatile held = block_alone(48);

	is_ready();
	sleep_forever();
	hide(held);
}

static void exits(void)
{
	void *volatile held = block_alone(48);

	CLEAR_REGISTERS();
	exit(0);
	hide(held);
}

static NOINLINE void run_on_other(void (*fn)(void), ucontext_t *coroutine)
{
	void *volatile held = block_alone(480);
	ucontext_t starter;

	CHECK(getcontext(coroutine) == 0);
	coroutine->uc_stack.ss_sp = block(STACK_BYTES);
	coroutine->uc_stack.ss_size = STACK_BYTES;
	makecontext(coroutine, fn, 0);
	CLEAR_REGISTERS();
	swapcontext(&starter, coroutine);
	hide(held);
}

static void *body(void *unused)
{
	static ucontext_t coroutine;

	run_on_other(waits, &coroutine);
	return unused;
}

int main(void)
{
	static ucontext_t coroutine;

	start_thread(body);
	run_on_other(exits, &coroutine);
	return 1;
}
