/* sigaltstack.c: a thread stands in a signal handler on another stack: one block is held by the
 * handler's frame, one by the frame that it interrupted. The other stack is from mmap.
 *
 * leaks: none
 */
#include <sys/mman.h>

#include "tests/corpus/corpus.h"

#define STACK_BYTES (512 << 10)

static void handler(int signo)
{
	void *volatile held = block_alone(48);

	(void)signo;
	is_ready();
	sleep_forever();
	hide(held);
}

static NOINLINE void in_a_frame(void)
{
	void *volatile held = block_alone(480);

	CLEAR_REGISTERS();
	raise(SIGUSR1);
	hide(held);
}

static void *body(void *unused)
{
	void *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
	                   -1, 0);
	stack_t other = { .ss_sp = stack, .ss_size = STACK_BYTES };
	struct sigaction action = { .sa_flags = SA_ONSTACK };

	(void)unused;
	CHECK(stack != MAP_FAILED && sigaltstack(&other, NULL) == 0);
	action.sa_handler = handler;
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	in_a_frame();
	return NULL;
}

int main(void)
{
	start_thread(body);
	return 0;
}
