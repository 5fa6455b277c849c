/* rss.c: when a program has freed all it had and idles, its RSS falls to at most a tenth of the peak,
 * though nobody asks: with one thread that only sleeps, and with eight. It says how long that took.
 *
 * variants: THREADS=1 | THREADS=8
 */
#include "tests/process/process.h"

#include <pthread.h>

enum { NBLOCKS = 400000, PATIENCE_MS = 60000 };

static pthread_barrier_t turn;

struct heap_user {
	char   *block[NBLOCKS];
	uint64_t random;
	size_t  n;
};

/* Blocks of 16 to 1024 bytes, touched, then freed in random order. */
static void use_and_free(struct heap_user *u)
{
	for (size_t i = 0; i < u->n; i++) {
		size_t nbytes = 16 + next_random(&u->random) % 1009;
		CHECK((u->block[i] = malloc(nbytes)) != NULL);
		memset(u->block[i], 1, nbytes);
	}
	pthread_barrier_wait(&turn);            /* all have all: the peak */
	pthread_barrier_wait(&turn);            /* it was measured */
	for (size_t i = u->n; i > 0; i--) {
		size_t j = next_random(&u->random) % i;
		char *p = u->block[j];
		u->block[j] = u->block[i - 1];
		free(p);
	}
	pthread_barrier_wait(&turn);            /* all freed; from here it is idle */
	pthread_barrier_wait(&turn);            /* it was measured */
}

static void *thread(void *user)
{
	use_and_free(user);
	return NULL;
}

/* The test's own tables are mapped, touched, and no part of what is compared. */
int main(void)
{
	static struct heap_user users[8];
	size_t nthreads = strtoul(getenv("THREADS"), NULL, 10), before, peak, after;
	unsigned waited = 0;
	pthread_t t[8];
	uint64_t seed = seed_from_env();

	memset(users, 1, sizeof users);
	before = rss_bytes();
	pthread_barrier_init(&turn, NULL, (unsigned)nthreads + 1);
	for (size_t i = 0; i < nthreads; i++) {
		users[i].random = seed + 2 * i;
		users[i].n = NBLOCKS / nthreads;
		CHECK(pthread_create(&t[i], NULL, thread, &users[i]) == 0);
	}
	pthread_barrier_wait(&turn);
	peak = rss_bytes() - before;
	pthread_barrier_wait(&turn);
	pthread_barrier_wait(&turn);
	while ((after = rss_bytes()) > before + peak / 10 && waited < PATIENCE_MS) {
		sleep_ms(100);
		waited += 100;
	}
	after = after > before ? after - before : 0;
	printf("peak %zu KiB, %u ms later %zu KiB\n", peak / KIB(1), waited, after / KIB(1));
	CHECKF(after <= peak / 10, "peak %zu, then %zu", peak, after);
	pthread_barrier_wait(&turn);
	for (size_t i = 0; i < nthreads; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	return 0;
}
