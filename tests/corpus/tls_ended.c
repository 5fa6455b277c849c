/* tls_ended.c: a thread-local variable ends with its thread.
 *
 * leaks: direct 48/1 keep
 */
#include "tests/corpus/corpus.h"

HOLDER __thread void *held;

static NOINLINE void keep(void)
{
	held = block(48);
}

static void *body(void *unused)
{
	(void)unused;
	apart(keep);
	return NULL;
}

int main(void)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, body, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	return 0;
}
