/* threads_many.c: 100 threads sleep, each holds one block and has lost one.
 *
 * leaks: direct 6400/100 lose
 */
#include "tests/corpus/corpus.h"

static NOINLINE void lose(void)
{
	block(64);
}

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
	apart(lose);
	in_a_frame();
	return NULL;
}

int main(void)
{
	for (int i = 0; i < 100; i++)
		start_thread(body);
	return 0;
}
