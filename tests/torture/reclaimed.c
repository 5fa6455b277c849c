/* reclaimed.c: what nothing leads to is reclaimed: a program that loses a hundred times its live memory, in
 * blocks of all sizes, in rings and lists, by several threads, never holds most of that, and is small in the
 * end.
 *
 * also: SPANGC_GC_FREE=ignore | SPANGC_STACKS=all | SPANGC_GC_WORKERS=2 | SPANGC_VERIFY=1
 */
#include "tests/torture/torture.h"
#include "tests/torture/objects.h"
#include "tests/process/process.h"

#define NTHREADS 3
#define LOST_BYTES ((size_t)300 << 20)          /* each second, by each thread; then they rest */
#define BOUND_BYTES ((size_t)100 << 20)
#define NKEPT 200
#define PATIENCE_MS 30000

static _Atomic uint64_t next_serial = 1;
static _Atomic size_t nlost;

struct node {
	struct node *next, *back;
	unsigned char rest[];
};

/* A ring with links both ways, of one size: where only counting references would fail. */
static NOINLINE size_t lose_ring(uint64_t *rng)
{
	size_t nbytes = sizeof(struct node) + random_size(rng), n = next_random(rng) % 30 + 1;
	struct node *first = NULL;

	for (size_t i = 0; i < n; i++) {
		struct node *node = malloc(nbytes);

		CHECK(node);
		memset(node->rest, 0xdb, nbytes - sizeof *node);
		node->next = first ? first->next : node;
		node->back = first ? first : node;
		node->next->back = node;
		node->back->next = node;
		first = node;
	}
	return n * nbytes;
}

static NOINLINE size_t lose_large(uint64_t *rng)
{
	size_t nbytes = next_random(rng) % ((size_t)4 << 20) + 1;

	memset(hide(malloc(nbytes)), 0xdb, nbytes);
	return nbytes;
}

static NOINLINE size_t lose(uint64_t *rng)
{
	return next_random(rng) % 50 ? lose_ring(rng) : lose_large(rng);
}

static void *work(void *arg)
{
	uint64_t rng = torture.seed + (uintptr_t)arg * 2;
	struct ref *kept = calloc(NKEPT, sizeof *kept);
	size_t n = 0, max = LOST_BYTES * torture_seconds();

	while (torture_goes_on() && n < max) {
		struct ref *r = &kept[next_random(&rng) % NKEPT];

		n += lose(&rng);
		torture_count(object_walk(*r, false));
		*r = object_make(next_serial++);
		if (next_random(&rng) % 4 == 0)
			free(hide(malloc(random_size(&rng))));
	}
	nlost += n;
	return NULL;
}

int main(void)
{
	pthread_t thread[NTHREADS];
	size_t most = 0, now;

	if (!torture_collects())
		SKIP("without mode gc nothing is reclaimed");
	torture_begin_alone();
	for (unsigned i = 0; i < NTHREADS; i++)
		thread[i] = start_thread(work, (void *)(uintptr_t)(i + 1));
	while (torture_goes_on()) {
		sleep_ms(20);
		now = rss_bytes();
		most = now > most ? now : most;
	}
	for (unsigned i = 0; i < NTHREADS; i++)
		join_thread(thread[i]);
	collect();
	collect();
	/* Free pages go back after a while, though this program does nothing more; a busy machine takes longer. */
	for (unsigned i = 0; (now = rss_bytes()) >= BOUND_BYTES && i < PATIENCE_MS / 100; i++)
		sleep_ms(100);
	printf("%zu MiB lost, at most %zu MiB resident, %zu MiB at the end\n", nlost >> 20, most >> 20,
	       now >> 20);
	CHECKF(most < nlost / 4 * 3 + BOUND_BYTES, "%zu MiB were resident of %zu lost", most >> 20, nlost >> 20);
	CHECKF(now < BOUND_BYTES, "%zu MiB are resident, %zu MiB were lost", now >> 20, nlost >> 20);
	return torture_end();
}
