/* tls.c: held by thread-local variables only, main's and a living thread's.
 *
 * leaks: none
 */
#include "tests/corpus/corpus.h"

HOLDER __thread void *held;
HOLDER __thread void *held_too = (void *)1;     /* .tdata */

static NOINLINE void keep(void)
{
	held = block(48);
	held_too = block(480);
}

static void *body(void *unused)
{
	(void)unused;
	apart(keep);
	is_ready();
	sleep_forever();
	return NULL;
}

int main(void)
{
	apart(keep);
	start_thread(body);
	return 0;
}
