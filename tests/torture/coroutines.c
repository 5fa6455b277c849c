/* coroutines.c: coroutines whose stacks are blocks of the heap, or mappings, switch all the time, also from
 * thread to thread; objects that only a suspended stack leads to live on.
 *
 * also: SPANGC_VERIFY=1 | SPANGC_GC_FREE=ignore
 */
#include "tests/torture/torture.h"
#include "tests/torture/objects.h"

#include <sys/mman.h>
#include <ucontext.h>

#define NTHREADS 3
#define NCOROUTINES 24
#define STACK_BYTES ((size_t)64 << 10)
#define NHELD 12

struct coroutine {
	ucontext_t context, *back;
	char *stack;
	uint64_t rng, serial;
	bool is_mapped, is_over;
	pthread_mutex_t lock;
};

static struct coroutine *_Atomic coroutines[NCOROUTINES];

/* setjmp and makecontext hide no pointer of ours in registers only: swapcontext stores them. */
static NOINLINE void suspend(struct coroutine *c)
{
	CHECK(swapcontext(&c->context, c->back) == 0);
}

/* The objects are on this stack, and on it only. */
static NOINLINE void live(struct coroutine *c)
{
	struct ref held[NHELD] = { { 0, 0 } };
	unsigned nturns = (unsigned)(next_random(&c->rng) % 40) + 3;

	for (unsigned turn = 0; turn < nturns; turn++) {
		unsigned i = (unsigned)(next_random(&c->rng) % NHELD);

		torture_count(object_walk(held[i], true));
		held[i] = object_make(c->serial++);
		if (next_random(&c->rng) % 64 == 0)
			collect();
		suspend(c);
	}
	for (unsigned i = 0; i < NHELD; i++)
		torture_count(object_walk(held[i], true));
	c->is_over = true;
	suspend(c);
}

static void enter(unsigned high, unsigned low)
{
	live((struct coroutine *)((uintptr_t)high << 32 | low));
	CHECK(false);
}

static struct coroutine *coroutine_make(uint64_t rng, uint64_t serial)
{
	struct coroutine *c = calloc(1, sizeof *c);

	c->rng = rng | 1;
	c->serial = serial;
	c->is_mapped = rng % 4 == 0;
	if (c->is_mapped)
		c->stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	else
		c->stack = malloc(STACK_BYTES);
	CHECK(c->stack && c->stack != MAP_FAILED && getcontext(&c->context) == 0);
	pthread_mutex_init(&c->lock, NULL);
	c->context.uc_stack.ss_sp = c->stack;
	c->context.uc_stack.ss_size = STACK_BYTES;
	makecontext(&c->context, (void (*)(void))enter, 2, (unsigned)((uintptr_t)c >> 32), (unsigned)(uintptr_t)c);
	return c;
}

static void coroutine_drop(struct coroutine *c)
{
	if (c->is_mapped)
		munmap(c->stack, STACK_BYTES);
	else
		free(c->stack);
	free(c);
}

static void run_one(struct coroutine *c)
{
	ucontext_t here;

	c->back = &here;
	CHECK(swapcontext(&here, &c->context) == 0);
}

/* Whoever takes the coroutine out of the table runs it. */
static void *switch_on(void *arg)
{
	uint64_t rng = torture.seed + (uintptr_t)arg * 2, number = (uint64_t)(uintptr_t)arg << 40;

	while (torture_goes_on()) {
		unsigned i = (unsigned)(next_random(&rng) % NCOROUTINES);
		struct coroutine *c = atomic_exchange(&coroutines[i], NULL);

		if (!c)
			c = coroutine_make(next_random(&rng), number += 1000);
		run_one(c);
		make_garbage(&rng);
		if (c->is_over) {
			coroutine_drop(c);
			continue;
		}
		c = atomic_exchange(&coroutines[i], c);
		if (!c)
			continue;
		while (!c->is_over)
			run_one(c);
		coroutine_drop(c);
	}
	return NULL;
}

int main(void)
{
	pthread_t thread[NTHREADS];

	torture_begin();
	for (unsigned i = 0; i < NTHREADS; i++)
		thread[i] = start_thread(switch_on, (void *)(uintptr_t)(i + 1));
	for (unsigned i = 0; i < NTHREADS; i++)
		join_thread(thread[i]);
	return torture_end();
}
