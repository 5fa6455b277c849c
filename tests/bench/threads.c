/* threads.c: patterns of several threads; elapsed time.
 *
 * Two threads work at a time, so that the figures mean something on two processors.
 */
#include "bench.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

static pthread_t thread_start(void *(*run)(void *), void *arg)
{
	pthread_t id;

	if (pthread_create(&id, NULL, run, arg) != 0)
		bench_fail("no thread");
	return id;
}

static void *pair_run(void *arg)
{
	size_t nops = *(size_t *)arg;

	for (size_t i = 0; i < nops; i++) {
		size_t *p = malloc(48);

		*p = i;
		keep(p);
		free(p);
	}
	return NULL;
}

static void pair_threads(size_t nthreads, size_t nops)
{
	pthread_t id[16];

	timer_start();
	for (size_t i = 0; i < nthreads; i++)
		id[i] = thread_start(pair_run, &nops);
	for (size_t i = 0; i < nthreads; i++)
		pthread_join(id[i], NULL);
	timer_stop(nops);
}

/* One thread makes blocks, another drops them: a ring between them, filled and
 * emptied 64 at a time. */
#define RING_SLOTS 4096

static struct ring {
	_Alignas(64) _Atomic size_t made;
	_Alignas(64) _Atomic size_t dropped;
	size_t nblocks;
	void **slot;
} ring;

static void *consumer_run(void *unused)
{
	size_t dropped = 0;

	(void)unused;
	while (dropped < ring.nblocks) {
		/* acquire: pairs with the release in producer_consumer(). */
		size_t made = atomic_load_explicit(&ring.made, memory_order_acquire);

		if (made == dropped)
			sched_yield();
		while (dropped < made)
			block_drop(ring.slot[dropped++ % RING_SLOTS]);
		/* release: the slots were read; pairs with the producer's acquire. */
		atomic_store_explicit(&ring.dropped, dropped, memory_order_release);
	}
	return NULL;
}

static void ring_wait_for_room(size_t made)
{
	/* acquire: pairs with the release in consumer_run(). */
	while (made - atomic_load_explicit(&ring.dropped, memory_order_acquire) > RING_SLOTS - 64)
		sched_yield();
}

static void producer_consumer(size_t nbytes, size_t nblocks)
{
	pthread_t id;

	ring.slot = raw(RING_SLOTS * sizeof *ring.slot);
	ring.nblocks = nblocks;
	timer_start();
	id = thread_start(consumer_run, NULL);
	for (size_t made = 0; made < nblocks;) {
		ring_wait_for_room(made);
		for (size_t i = 0; i < 64 && made < nblocks; i++)
			ring.slot[made++ % RING_SLOTS] = block_make(nbytes);
		/* release: the slots were written; pairs with the consumer's acquire. */
		atomic_store_explicit(&ring.made, made, memory_order_release);
	}
	pthread_join(id, NULL);
	timer_stop(nblocks);
}

/* As a server does: each thread replaces random blocks of a population that it
 * inherited, then hands it to a new thread and ends. */
#define LARSON_BLOCKS 5000
#define LARSON_OPS    50000                     /* in the life of one thread */

struct larson {
	size_t   generations;
	uint64_t seed;
	void    *block[LARSON_BLOCKS];
};

static void *larson_run(void *arg)
{
	struct larson *l = arg;

	for (size_t i = 0; i < LARSON_OPS; i++) {
		size_t k = rng_below(&l->seed, LARSON_BLOCKS);

		if (l->block[k])
			block_drop(l->block[k]);
		l->block[k] = block_make(mixed_size(k + i));
	}
	return NULL;
}

static void *larson_chain(void *arg)
{
	struct larson *l = arg;

	while (l->generations-- > 0)
		pthread_join(thread_start(larson_run, l), NULL);
	return NULL;
}

static void larson(size_t nchains, size_t generations)
{
	struct larson *l = raw(nchains * sizeof *l);
	pthread_t id[16];

	timer_start();
	for (size_t i = 0; i < nchains; i++) {
		l[i].generations = generations;
		l[i].seed = 100 + i;
		id[i] = thread_start(larson_chain, &l[i]);
	}
	for (size_t i = 0; i < nchains; i++)
		pthread_join(id[i], NULL);
	timer_stop(nchains * generations * LARSON_OPS);
}

/* Two threads hold populations and free each other's blocks: every block is made
 * by one and dropped by the other. */
#define SWAP_SLOTS 16384
#define SWAP_OPS   1000000                      /* of each thread */

static _Atomic(void *) *swap_slot;

static void *swap_run(void *arg)
{
	uint64_t seed = *(uint64_t *)arg;

	for (size_t i = 0; i < SWAP_OPS; i++) {
		size_t k = rng_below(&seed, SWAP_SLOTS);
		void *p = block_make(mixed_size(k + i));

		/* acq_rel: hands our block over and takes the other thread's. */
		p = atomic_exchange_explicit(&swap_slot[k], p, memory_order_acq_rel);
		if (p)
			block_drop(p);
	}
	return NULL;
}

static void swap(size_t nthreads, size_t unused)
{
	uint64_t seed[16];
	pthread_t id[16];

	(void)unused;
	swap_slot = raw(SWAP_SLOTS * sizeof *swap_slot);
	timer_start();
	for (size_t i = 0; i < nthreads; i++) {
		seed[i] = 77 + i;
		id[i] = thread_start(swap_run, &seed[i]);
	}
	for (size_t i = 0; i < nthreads; i++)
		pthread_join(id[i], NULL);
	timer_stop(SWAP_OPS);
}

static void *short_run(void *arg)
{
	size_t nblocks = *(size_t *)arg;
	void *block[64];

	for (size_t i = 0; i < nblocks; i++)
		block[i] = block_make(mixed_size(i));
	for (size_t i = 0; i < nblocks; i++)
		block_drop(block[i]);
	return NULL;
}

static void thread_churn(size_t nblocks, size_t nthreads)
{
	timer_start();
	for (size_t i = 0; i < nthreads; i++)
		pthread_join(thread_start(short_run, &nblocks), NULL);
	timer_stop(nthreads);
}

#define ELAPSED CLOCK_MONOTONIC

static const struct row rows[] = {
	{ "pair-2-threads", pair_threads, 2, 10000000, ELAPSED },
	{ "producer-consumer", producer_consumer, 64, 2000000, ELAPSED },
	{ "larson-2-threads", larson, 2, 60, ELAPSED },
	{ "swap-2-threads", swap, 2, 0, ELAPSED },
	{ "thread-churn", thread_churn, 20, 5000, ELAPSED },
};

int main(int argc, char **argv)
{
	return bench_main(argc, argv, rows, sizeof rows / sizeof *rows);
}
