/* late.c: malloc and free in atexit handlers, destructors and after the thread's own ones: keys
 * that set themselves again for all rounds, thread_local destructors, blocks freed there.
 *
 * env: SPANGC_STATS=0
 */
#include "tests/check.h"

#include <limits.h>
#include <pthread.h>

int __cxa_thread_atexit_impl(void (*)(void *), void *, void *);
extern void *__dso_handle;

static pthread_key_t keys[8];
static char *kept[200];

/* The work of one late moment: free what an earlier one left, leave some for the next. */
static void work(size_t tag)
{
	for (size_t i = 0; i < COUNT(kept); i++) {
		size_t nbytes = (i * 331 + tag) % 40000 + 1;
		free(kept[i]);
		CHECK((kept[i] = malloc(nbytes)) != NULL);
		memset(kept[i], (int)tag, nbytes);
	}
}

/* A key's destructor sets its value again: libc calls it in PTHREAD_DESTRUCTOR_ITERATIONS
 * rounds, so some rounds come after any destructor of ours. */
static void key_gone(void *value)
{
	uintptr_t packed = (uintptr_t)value, round = packed >> 8, key = packed & 0xff;

	work(packed);
	if (round < PTHREAD_DESTRUCTOR_ITERATIONS)
		pthread_setspecific(keys[key], (void *)((round + 1) << 8 | key));
}

static void thread_local_gone(void *block)
{
	free(block);
	work(99);
}

static void *thread(void *unused)
{
	for (uintptr_t i = 0; i < COUNT(keys); i++)
		pthread_setspecific(keys[i], (void *)(1 << 8 | i));
	CHECK(__cxa_thread_atexit_impl(thread_local_gone, malloc(77), &__dso_handle) == 0);
	work(5);
	return unused;
}

static void at_exit(void)
{
	work(17);
	check_heap_works();
}

__attribute__((destructor)) static void at_the_end(void)
{
	work(18);
	check_heap_works();
}


int main(void)
{
	atexit(at_exit);
	for (size_t i = 0; i < COUNT(keys); i++)
		CHECK(pthread_key_create(&keys[i], key_gone) == 0);
	for (int i = 0; i < 300; i++) {
		pthread_t t;
		CHECK(pthread_create(&t, NULL, thread, NULL) == 0);
		CHECK(pthread_join(t, NULL) == 0);
	}
	thread(NULL);
	check_heap_works();
	return 0;
}
