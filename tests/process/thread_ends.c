/* thread_ends.c: threads with the smallest stack, detached ones, cancelled ones,
 * and pthread_exit with a cleanup that frees.
 */
#include "tests/process/process.h"

#include <pthread.h>
#include <semaphore.h>

static sem_t done;

static void use_heap(void)
{
	char *block[100];

	for (size_t i = 0; i < COUNT(block); i++) {
		CHECK((block[i] = malloc(i * 300 + 1)) != NULL);
		memset(block[i], 1, i * 300 + 1);
	}
	for (size_t i = 0; i < COUNT(block); i++)
		free(block[i]);
}

static void *use_and_post(void *unused)
{
	use_heap();
	free(calloc(1, MIB(1)));
	sem_post(&done);
	return unused;
}

static void *use_forever(void *unused)
{
	sem_post(&done);
	for (;;) {
		use_heap();
		pthread_testcancel();
	}
	return unused;
}

static void *use_and_exit(void *unused)
{
	char *p = malloc(1000);

	pthread_cleanup_push(free, p);
	use_heap();
	pthread_exit(unused);
	pthread_cleanup_pop(1);
	return unused;
}

static void small_stack(void)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	CHECK(pthread_attr_setstacksize(&attr, (size_t)PTHREAD_STACK_MIN) == 0);
	CHECK(pthread_create(&t, &attr, use_and_post, NULL) == 0);
	CHECK(pthread_join(t, NULL) == 0);
	sem_wait(&done);
	CHECK(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0);
	CHECK(pthread_create(&t, &attr, use_and_post, NULL) == 0);
	sem_wait(&done);
	pthread_attr_destroy(&attr);
}

static void cancelled(void)
{
	pthread_t t;
	void *how;

	CHECK(pthread_create(&t, NULL, use_forever, NULL) == 0);
	sem_wait(&done);
	pthread_cancel(t);
	CHECK(pthread_join(t, &how) == 0 && how == PTHREAD_CANCELED);
	CHECK(pthread_create(&t, NULL, use_and_exit, NULL) == 0);
	CHECK(pthread_join(t, NULL) == 0);
}

int main(void)
{
	watchdog(100);
	sem_init(&done, 0, 0);
	for (int i = 0; i < 200; i++) {
		small_stack();
		cancelled();
	}
	check_heap_works();
	return 0;
}
