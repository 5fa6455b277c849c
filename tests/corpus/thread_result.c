/* thread_result.c: held only as the result of a thread that nobody has joined yet.
 *
 * leaks: none
 */
#include <time.h>

#include "tests/corpus/corpus.h"

static pthread_t thread;

static void *body(void *unused)
{
	(void)unused;
	return block(48);
}

int main(void)
{
	struct timespec a_while = { 0, 50000000 };

	CHECK(pthread_create(&thread, NULL, body, NULL) == 0);
	nanosleep(&a_while, NULL);
	return 0;
}
