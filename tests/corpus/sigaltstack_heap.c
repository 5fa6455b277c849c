/* sigaltstack_heap.c: the other stack is a block that only the kernel knows, and holds one in turn.
 *
 * leaks: none
 */
#include "tests/corpus/corpus.h"

#define STACK_BYTES (64 << 10)

static NOINLINE void install(void)
{
	stack_t other = { .ss_size = STACK_BYTES };

	other.ss_sp = block(STACK_BYTES);
	*(void **)other.ss_sp = block(48);
	CHECK(sigaltstack(&other, NULL) == 0);
}

static void *body(void *unused)
{
	(void)unused;
	apart(install);
	is_ready();
	sleep_forever();
	return NULL;
}

int main(void)
{
	apart(install);
	start_thread(body);
	return 0;
}
