/* remote.c: threads free each other's blocks, which are used again at once.
 *
 * Each block carries a plain int, written last before the free and read first after reuse: who
 * gets the slot without all that its last holder did being visible is a race for ThreadSanitizer.
 * Blocks change hands through a table of atomic pointers. Sizes are few, so that slots of one
 * span belong to all threads; large blocks go the same way. At the end everything is freed and
 * every page must have come back.
 */
#include "tests/check.h"
#include "tests/core.h"

#define NTHREADS 4
#define ROUNDS 200000
#define NSHELVES 512

struct block_head {
	struct block_head *self;
	size_t nbytes;
	int    nowners;                         /* written last before the free */
};

static struct block_head *_Atomic shelf[NSHELVES];
static uint64_t seed;

static struct block_head *make(uint64_t *random)
{
	static const size_t sizes[] = { 24, 48, 48, 48, 200, 1000, 5000 };
	size_t nbytes = next_random(random) % 256 ? sizes[next_random(random) % COUNT(sizes)]
	                                          : KIB(40);
	struct block_head *b = core_malloc(nbytes);

	CHECK(b);
	/* Read first: what the slot's last holder wrote, or zero. Then it is ours. */
	b->nowners++;
	CHECK(b->self != b || b->nowners > 0);
	b->self = b;
	b->nbytes = nbytes;
	return b;
}

static void unmake(struct block_head *b)
{
	CHECKF(b->self == b, "%p holds %p", (void *)b, (void *)b->self);
	b->self = NULL;
	b->nowners = 1;
	cache_free(b);
}

static void *work(void *arg)
{
	uint64_t random = seed + (uintptr_t)arg * 977;

	for (int i = 0; i < ROUNDS; i++) {
		struct block_head *mine = make(&random);
		/* acq_rel: the block's contents go with it. */
		struct block_head *theirs = atomic_exchange_explicit(
			&shelf[next_random(&random) % NSHELVES], mine, memory_order_acq_rel);

		if (theirs)
			unmake(theirs);
		if (i % 4096 == 0)
			cache_empty_own();
	}
	cache_detach();
	return NULL;
}

int main(void)
{
	pthread_t threads[NTHREADS];

	watchdog(300);
	seed = seed_from_env();
	core_start();
	for (uintptr_t i = 0; i < NTHREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
	for (int i = 0; i < NTHREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < NSHELVES; i++)
		if (shelf[i])
			unmake(shelf[i]);
	CHECK(core_returns_all_pages());
	return 0;
}
