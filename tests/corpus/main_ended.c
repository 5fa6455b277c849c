/* main_ended.c: main left by pthread_exit; the last thread's end is the program's.
 *
 * leaks: direct 64/1 lose
 */
#include <time.h>

#include "tests/corpus/corpus.h"

static NOINLINE void lose(void)
{
	block(64);
}

static void *body(void *unused)
{
	struct timespec a_while = { 0, 50000000 };

	(void)unused;
	nanosleep(&a_while, NULL);
	apart(lose);
	return NULL;
}

int main(void)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, body, NULL) == 0);
	pthread_detach(thread);
	pthread_exit(NULL);
}
