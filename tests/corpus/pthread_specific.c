/* pthread_specific.c: held by pthread_setspecific only: of main and of a living thread, of a low
 * key and of one beyond those that lie in the thread's own record.
 *
 * leaks: none
 */
#include "tests/corpus/corpus.h"

#define NKEYS 60

static pthread_key_t keys[NKEYS];

static NOINLINE void keep(void)
{
	CHECK(pthread_setspecific(keys[0], block(48)) == 0);
	CHECK(pthread_setspecific(keys[NKEYS - 1], block(480)) == 0);
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
	for (int i = 0; i < NKEYS; i++)
		CHECK(pthread_key_create(&keys[i], NULL) == 0);
	apart(keep);
	start_thread(body);
	return 0;
}
