/* sigaltstack_exit.c: exit() is called in a handler on another stack; the frame that was
 * interrupted holds a block.
 *
 * leaks: none
 */
#include "tests/corpus/corpus.h"

static char stack[256 << 10];

static void handler(int signo)
{
	(void)signo;
	exit(0);
}

static NOINLINE void in_a_frame(void)
{
	void *volatile held = block_alone(480);

	CLEAR_REGISTERS();
	raise(SIGUSR1);
	hide(held);
}

int main(void)
{
	stack_t other = { .ss_sp = stack, .ss_size = sizeof stack };
	struct sigaction action = { .sa_flags = SA_ONSTACK };

	CHECK(sigaltstack(&other, NULL) == 0);
	action.sa_handler = handler;
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	in_a_frame();
	return 1;
}
