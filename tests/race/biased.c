/* biased.c: owners and strangers count under biased locks: each count is a plain number.
 *
 * Two owners with a lock each; strangers take one lock, or both with one fence between, as fork
 * does. A stranger and an owner inside at once lose an update, or ThreadSanitizer sees them. Twice:
 * with membarrier, where the kernel has it, and with the fence in the owner.
 */
#include "tests/check.h"

#include <pthread.h>

#include "core/biased.h"

#define NOWNERS 2
#define NSTRANGERS 3
#define ROUNDS 30000                            /* of a stranger, at least */
#define OWNER_ROUNDS 1000000
#define COLD_BYTES MIB(16)                      /* more than a processor's own caches */

static struct counter {
	_Alignas(CACHE_LINE) struct biased lock;
	_Alignas(CACHE_LINE) unsigned long n;   /* plain */
	_Atomic unsigned long nowner;           /* how often its owner was in */
	uint64_t random;
	unsigned char *cold;
} counters[NOWNERS];

static unsigned long ntaken[NSTRANGERS][NOWNERS];
static _Atomic bool is_over;

/* Long enough that somebody else's update in between is lost. */
static void add_one(struct counter *c)
{
	unsigned long n = *(volatile unsigned long *)&c->n;

	for (volatile int i = 0; i < 20; i++)
		;
	c->n = n + 1;
}

static unsigned long owner_rounds(ptrdiff_t i)
{
	return atomic_load_explicit(&counters[i].nowner, memory_order_relaxed);
}

/* Stores that take long: the one to is_used waits behind them, out of others' sight, while the
 * owner reads on, unless a fence prevents it. */
static void keep_stores_waiting(struct counter *c)
{
	for (int i = 0; i < 8; i++)
		c->cold[next_random(&c->random) % COLD_BYTES] = 1;
}

static void *own(void *arg)
{
	struct counter *c = arg;

	/* relaxed: only when it ends. */
	while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
		keep_stores_waiting(c);
		biased_enter(&c->lock);
		add_one(c);
		biased_leave(&c->lock);
		/* relaxed: read for good only when the owner has ended. */
		atomic_store_explicit(&c->nowner, owner_rounds(c - counters) + 1,
		                      memory_order_relaxed);
	}
	return NULL;
}

static void add_and_give_back(struct counter *c, unsigned long *n)
{
	add_one(c);
	++*n;
	biased_give_back(&c->lock);
}

static void take_all(unsigned long *n)
{
	bool is_asked[NOWNERS];

	for (unsigned i = 0; i < NOWNERS; i++)
		is_asked[i] = biased_ask(&counters[i].lock);
	biased_fence();
	for (unsigned i = 0; i < NOWNERS; i++) {
		if (is_asked[i] && biased_await(&counters[i].lock))
			add_and_give_back(&counters[i], &n[i]);
	}
}

static bool is_enough(unsigned nrounds)
{
	return nrounds >= ROUNDS && owner_rounds(0) >= OWNER_ROUNDS
	       && owner_rounds(1) >= OWNER_ROUNDS;
}

static void *meddle(void *arg)
{
	unsigned long *n = arg;

	for (unsigned i = 0; !is_enough(i); i++) {
		unsigned which = i / 2 % NOWNERS;

		if (i % 2)
			take_all(n);
		else if (biased_try(&counters[which].lock))
			add_and_give_back(&counters[which], &n[which]);
	}
	return NULL;
}

static void start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	CHECK(pthread_create(thread, NULL, run, arg) == 0);
}

static void run_threads(void)
{
	pthread_t owners[NOWNERS], strangers[NSTRANGERS];

	atomic_store_explicit(&is_over, false, memory_order_relaxed);
	for (unsigned i = 0; i < NOWNERS; i++)
		start(&owners[i], own, &counters[i]);
	for (unsigned i = 0; i < NSTRANGERS; i++)
		start(&strangers[i], meddle, ntaken[i]);
	for (unsigned i = 0; i < NSTRANGERS; i++)
		pthread_join(strangers[i], NULL);
	atomic_store_explicit(&is_over, true, memory_order_relaxed);
	for (unsigned i = 0; i < NOWNERS; i++)
		pthread_join(owners[i], NULL);
}

static void nobody_is_lost(void)
{
	memset(counters, 0, sizeof counters);
	memset(ntaken, 0, sizeof ntaken);
	/* Of one rank, and strangers hold two: they try, and trying has no order. */
	for (unsigned i = 0; i < NOWNERS; i++) {
		biased_init(&counters[i].lock, LOCK_HEAP);
		counters[i].random = i + 1;
		counters[i].cold = calloc(1, COLD_BYTES);
		CHECK(counters[i].cold);
	}
	run_threads();
	for (unsigned i = 0; i < NOWNERS; i++) {
		unsigned long nstrangers = 0;

		for (unsigned j = 0; j < NSTRANGERS; j++)
			nstrangers += ntaken[j][i];
		printf("lock %u, fence %d: owner %lu, strangers %lu, counted %lu\n", i,
		       biased_needs_fence, owner_rounds(i), nstrangers, counters[i].n);
		CHECK(nstrangers);
		CHECKF(counters[i].n == owner_rounds(i) + nstrangers, "%ld lost",
		       (long)(owner_rounds(i) + nstrangers - counters[i].n));
		free(counters[i].cold);
	}
}

static void *try_it(void *arg)
{
	struct biased *l = arg;

	if (!biased_try(l))
		return NULL;
	biased_give_back(l);
	return l;
}

static bool stranger_gets(struct biased *l)
{
	pthread_t thread;
	void *got;

	start(&thread, try_it, l);
	CHECK(pthread_join(thread, &got) == 0);
	return got != NULL;
}

/* An owner that stays inside (a signal handler may have interrupted it there) stops nobody for
 * good, and is not kept out afterwards. */
static void strangers_give_up(void)
{
	struct biased *l = &counters[0].lock;

	biased_enter(l);
	CHECK(!stranger_gets(l));
	biased_leave(l);
	CHECK(stranger_gets(l));
	biased_enter(l);
	biased_leave(l);
}

int main(void)
{
	watchdog(300);
	biased_start();
	if (biased_needs_fence)
		puts("no membarrier here");
	nobody_is_lost();
	strangers_give_up();
	biased_needs_fence = true;
	nobody_is_lost();
	strangers_give_up();
	return 0;
}
