/* thread_stack.c: held by a local variable of a function that runs: in main, and in a living
 * thread.
 *
 * leaks: none
 */
#include "tests/corpus/corpus.h"

static NOINLINE void in_a_frame(void)
{
	void *volatile held = block_alone(48);

	is_ready();
	sleep_forever();
	hide(held);
}

static void *body(void *unused)
{
	(void)unused;
	in_a_frame();
	return NULL;
}

int main(void)
{
	void *volatile held = block_alone(480);

	start_thread(body);
	hide(held);
	exit(0);
}
