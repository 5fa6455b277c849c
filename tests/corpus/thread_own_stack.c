/* thread_own_stack.c: a thread ran on memory of the program's, which has it back when the thread was
 * joined, and keeps a pointer there; libc's record of the thread still stands at its end.
 *
 * leaks: none
 */
#include <sys/mman.h>

#include "tests/corpus/corpus.h"

enum { STACK_BYTES = 1 << 20 };

HOLDER void **room;

static void *body(void *unused)
{
	return unused;
}

static NOINLINE void keep(void)
{
	room[0] = block(48);
}

int main(void)
{
	pthread_attr_t attr;
	pthread_t thread;

	room = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(room != MAP_FAILED);
	CHECK(pthread_attr_init(&attr) == 0 && pthread_attr_setstack(&attr, room, STACK_BYTES) == 0);
	CHECK(pthread_create(&thread, &attr, body, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	apart(keep);
	return 0;
}
