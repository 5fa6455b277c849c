/* thread_ended.c: threads that lost a block and ended, joined and detached.
 *
 * leaks: direct 480/10 lose
 */
#include "tests/corpus/corpus.h"

static NOINLINE void lose(void)
{
	block(48);
}

static void *body(void *unused)
{
	(void)unused;
	apart(lose);
	return NULL;
}

static void *body_and_tell(void *unused)
{
	(void)unused;
	apart(lose);
	is_ready();
	return NULL;
}

int main(void)
{
	pthread_t thread;

	for (int i = 0; i < 5; i++) {
		CHECK(pthread_create(&thread, NULL, body, NULL) == 0);
		CHECK(pthread_join(thread, NULL) == 0);
		start_thread(body_and_tell);
	}
	return 0;
}
