/* births.c: threads are created by the thousand; what leads to an object is a thread's argument, its
 * result, its thread-specific data, a stack inside a block, or what the ended thread left behind.
 *
 * also: SPANGC_VERIFY=1 | SPANGC_GC_FREE=ignore
 */
#include "tests/torture/torture.h"
#include "tests/torture/objects.h"

#include <limits.h>

#define NSTARTERS 3
#define STACK_BYTES ((size_t)256 << 10)

static pthread_key_t key;
static _Atomic uint64_t next_serial = 1;

static __thread struct ref in_tls[8];

/* What a destructor finds was reachable until then. */
static void destroy(void *p)
{
	struct ref *r = p;

	torture_count(object_walk(*r, true));
	free(r);
}

static NOINLINE void set_specific(uint64_t *rng)
{
	struct ref *r = malloc(sizeof *r);

	make_garbage(rng);
	*r = object_make(next_serial++);
	CHECK(pthread_setspecific(key, r) == 0);
}

/* Small and large, freed and live: what stays in the thread's magazines at its end matters to nobody. */
static NOINLINE void leave_magazines_full(uint64_t *rng)
{
	void *held[64];

	for (unsigned i = 0; i < 64; i++)
		held[i] = malloc(random_size(rng));
	for (unsigned i = 0; i < 64; i++)
		free(held[i]);
}

/* The argument is the only reference to a block with the reference; the result is the same for a new one. */
static void *live(void *arg)
{
	struct ref *given = arg;
	uint64_t rng = torture.seed + given->serial * 2;
	unsigned ncollections = (unsigned)(next_random(&rng) % 16 == 0);

	set_specific(&rng);
	for (unsigned i = 0; i < COUNT(in_tls); i++)
		in_tls[i] = object_make(next_serial++);
	let_collections_pass(ncollections);
	make_garbage(&rng);
	torture_count(object_walk(*given, true));
	leave_magazines_full(&rng);
	for (unsigned i = 0; i < COUNT(in_tls); i++)
		torture_count(object_walk(in_tls[i], true));
	*given = object_make(next_serial++);
	return given;
}

static NOINLINE pthread_t start(const pthread_attr_t *attr)
{
	struct ref *r = malloc(sizeof *r);
	pthread_t thread;
	int error;

	*r = object_make(next_serial++);
	error = pthread_create(&thread, attr, live, r);
	CHECKF(error == 0, "pthread_create: %s", strerror(error));
	return thread;
}

static NOINLINE void take_result(pthread_t thread)
{
	struct ref *r = join_thread(thread);

	torture_count(object_walk(*r, true));
	free(r);
}

/* The whole stack, with the thread's local data and what the kernel writes there, is in a block. */
static void live_in_a_block(void)
{
	pthread_attr_t attr;
	void *stack = NULL;

	CHECK(posix_memalign(&stack, 4096, STACK_BYTES) == 0);
	CHECK(pthread_attr_init(&attr) == 0);
	CHECK(pthread_attr_setstack(&attr, stack, STACK_BYTES) == 0);
	take_result(start(&attr));
	pthread_attr_destroy(&attr);
	free(stack);
}

static void live_in_little(void)
{
	pthread_attr_t attr;

	CHECK(pthread_attr_init(&attr) == 0);
	CHECK(pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN + 32768) == 0);
	take_result(start(&attr));
	pthread_attr_destroy(&attr);
}

static _Atomic unsigned ndetached;

static void *live_detached(void *arg)
{
	uint64_t rng = torture.seed + (uintptr_t)arg;

	CHECK(pthread_detach(pthread_self()) == 0);
	set_specific(&rng);
	leave_magazines_full(&rng);
	ndetached--;
	return NULL;
}

static void *storm(void *arg)
{
	uint64_t rng = torture.seed + (uintptr_t)arg * 2;

	while (torture_goes_on()) {
		pthread_t thread[8];
		unsigned n = (unsigned)(next_random(&rng) % COUNT(thread));

		for (unsigned i = 0; i < n; i++)
			thread[i] = start(NULL);
		make_garbage(&rng);
		for (unsigned i = 0; i < n; i++)
			take_result(thread[i]);
		live_in_a_block();
		live_in_little();
		if (ndetached < 20) {
			ndetached++;
			start_thread(live_detached, (void *)(uintptr_t)(next_random(&rng) >> 1));
		}
	}
	return NULL;
}

int main(void)
{
	pthread_t thread[NSTARTERS];

	torture_begin();
	CHECK(pthread_key_create(&key, destroy) == 0);
	for (unsigned i = 0; i < NSTARTERS; i++)
		thread[i] = start_thread(storm, (void *)(uintptr_t)(i + 1));
	for (unsigned i = 0; i < NSTARTERS; i++)
		join_thread(thread[i]);
	while (ndetached)
		sleep_ms(1);
	return torture_end();
}
