/* thread_argument.c: held only as the argument of a thread that has not begun to look at it.
 *
 * leaks: none
 */
#include "tests/corpus/corpus.h"

static void *body(void *argument)
{
	is_ready();
	sleep_forever();
	return hide(argument);
}

static NOINLINE void start(void)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, body, block(48)) == 0);
	CHECK(pthread_detach(thread) == 0);
	sem_wait(&thread_is_ready);
}

int main(void)
{
	apart(start);
	return 0;
}
