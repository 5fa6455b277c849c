/* memory.c: patterns that show how much memory stays resident.
 *
 * All of them live on 100 MB (10^8 bytes) of mixed sizes, every byte written. The
 * idle rows free all of it, then call no allocation function for two seconds:
 * what is resident then is idle_kb. Their time is CPU time of the whole process,
 * the idle time included, so that giving memory back is paid for.
 */
#include "bench.h"

#include <pthread.h>

#define LIVE_BYTES ((size_t)100000000)
#define IDLE_SECONDS 2

struct set {
	void    **block;
	uint32_t *nbytes;
	size_t    nblocks, live_bytes;
};

static void set_init(struct set *s, size_t most)
{
	s->block = raw(most * sizeof *s->block);
	s->nbytes = raw(most * sizeof *s->nbytes);
	s->nblocks = s->live_bytes = 0;
}

static void set_put(struct set *s, size_t k, size_t nbytes)
{
	s->block[k] = malloc(nbytes);
	if (s->block[k] == NULL)
		bench_fail("out of memory");
	memset(s->block[k], 1, nbytes);
	block_fill(s->block[k], nbytes);
	s->nbytes[k] = (uint32_t)nbytes;
	s->live_bytes += nbytes;
}

static void set_drop(struct set *s, size_t k)
{
	block_drop(s->block[k]);
	s->block[k] = NULL;
	s->live_bytes -= s->nbytes[k];
}

static void set_fill(struct set *s, size_t bytes)
{
	while (s->live_bytes < bytes) {
		set_put(s, s->nblocks, mixed_size(s->nblocks));
		s->nblocks++;
	}
}

static void set_drop_all(struct set *s)
{
	for (size_t k = 0; k < s->nblocks; k++)
		if (s->block[k])
			set_drop(s, k);
}

#define MOST_BLOCKS (LIVE_BYTES / 100)

/* Fill, free nine blocks of ten at random, fill again to the same number of live
 * bytes with sizes a third bigger: what the survivors hold back shows in the peak. */
static void refill(size_t bytes, size_t unused)
{
	struct set s;
	uint64_t seed = 9;
	size_t nops;

	(void)unused;
	set_init(&s, MOST_BLOCKS);
	timer_start();
	set_fill(&s, bytes);
	nops = s.nblocks;
	for (size_t k = 0; k < s.nblocks; k++)
		if (rng_below(&seed, 10) != 0)
			set_drop(&s, k);
	for (size_t k = 0; s.live_bytes < bytes; k++) {
		if (k == s.nblocks)
			bench_fail("no free slot left");
		if (s.block[k])
			continue;
		set_put(&s, k, mixed_size(k) * 4 / 3);
		nops++;
	}
	timer_stop(nops);
}

static void idle(void)
{
	struct timespec rest = { .tv_sec = IDLE_SECONDS };

	nanosleep(&rest, NULL);
	bench.idle_kb = status_kb("VmRSS:");
}

static void idle_single(size_t bytes, size_t unused)
{
	struct set s;

	(void)unused;
	set_init(&s, MOST_BLOCKS);
	timer_start();
	set_fill(&s, bytes);
	set_drop_all(&s);
	idle();
	timer_stop(s.nblocks);
}

/* Each thread fills a set, waits for the others, and drops its own set or, where
 * `is_crossed`, its neighbour's: then the blocks' owners never come by again. */
#define IDLE_THREADS 8

static struct {
	struct set set[IDLE_THREADS];
	size_t bytes;
	bool is_crossed;
	pthread_barrier_t filled, dropped, over;
} crew;

static void *crew_run(void *arg)
{
	size_t me = (size_t)((struct set *)arg - crew.set);
	size_t victim = crew.is_crossed ? (me + 1) % IDLE_THREADS : me;

	set_fill(&crew.set[me], crew.bytes);
	pthread_barrier_wait(&crew.filled);
	set_drop_all(&crew.set[victim]);
	pthread_barrier_wait(&crew.dropped);
	pthread_barrier_wait(&crew.over);
	return NULL;
}

static void idle_threads(size_t bytes, size_t is_crossed)
{
	pthread_t id[IDLE_THREADS];
	size_t nops = 0;

	crew.bytes = bytes / IDLE_THREADS;
	crew.is_crossed = is_crossed;
	pthread_barrier_init(&crew.filled, NULL, IDLE_THREADS);
	pthread_barrier_init(&crew.dropped, NULL, IDLE_THREADS + 1);
	pthread_barrier_init(&crew.over, NULL, IDLE_THREADS + 1);
	timer_start();
	for (size_t i = 0; i < IDLE_THREADS; i++) {
		set_init(&crew.set[i], MOST_BLOCKS / IDLE_THREADS);
		if (pthread_create(&id[i], NULL, crew_run, &crew.set[i]) != 0)
			bench_fail("no thread");
	}
	pthread_barrier_wait(&crew.dropped);
	idle();
	pthread_barrier_wait(&crew.over);
	for (size_t i = 0; i < IDLE_THREADS; i++) {
		pthread_join(id[i], NULL);
		nops += crew.set[i].nblocks;
	}
	timer_stop(nops);
}

#define CPU CLOCK_PROCESS_CPUTIME_ID

static const struct row rows[] = {
	{ "refill", refill, LIVE_BYTES, 0, CPU },
	{ "idle-single", idle_single, LIVE_BYTES, 0, CPU },
	{ "idle-8-threads", idle_threads, LIVE_BYTES, false, CPU },
	{ "idle-8-crossed", idle_threads, LIVE_BYTES, true, CPU },
};

int main(int argc, char **argv)
{
	return bench_main(argc, argv, rows, sizeof rows / sizeof *rows);
}
