/* stop.c: the world is stopped again and again while threads come and go, allocate and sleep.
 *
 * While it is stopped nobody else may run: counters that the threads raise must not move. The lists
 * that threads hold on their stacks, and nowhere else, must be marked to their ends.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "scan/mark.h"
#include "scan/roots.h"
#include "scan/threads.h"
#include "tests/core.h"
#include "tests/scan_begin.h"

#define NWORKERS 6
#define NBLOCKS 200
#define ROUNDS 400

/* The signal may find a thread inside ThreadSanitizer's own locks: there nothing can be stopped. */
#ifdef __SANITIZE_THREAD__
enum { HAS_TSAN = true };
#else
enum { HAS_TSAN = false };
#endif

static _Atomic unsigned long turns[NWORKERS];
static _Atomic uintptr_t hidden[NWORKERS];      /* the first of each list, inverted; 0: none */
static _Atomic unsigned nborn;
static _Atomic bool is_over;

struct node {
	struct node *next;
	unsigned long owner;
};

static pthread_t create(void *(*start)(void *), void *arg)
{
	pthread_t thread;

	check(pthread_create(&thread, NULL, scan_begin, scan_thread_plan(start, arg, false)) == 0);
	return thread;
}

/* Lives shortly: stops find it in all of its states. */
static void *be_born(void *arg)
{
	atomic_fetch_add(&nborn, 1);
	cache_free(cache_alloc(100));
	cache_detach();
	return arg;
}

static void wait_a_little(unsigned i)
{
	const struct timespec t = { .tv_nsec = 20000 };

	if (i % 3 == 0)
		nanosleep(&t, NULL);
	else if (i % 3 == 1)
		sched_yield();
}

/* A list in a thread's own stack: rebuilt all the time, and whole whenever it is looked at. */
static void *work(void *arg)
{
	unsigned long self = (unsigned long)((_Atomic unsigned long *)arg - turns);

	for (unsigned i = 0; !is_over; i++) {
		struct node *volatile first = NULL;

		for (unsigned k = 0; k < NBLOCKS; k++) {
			struct node *n = core_malloc(sizeof *n + (i * 31 + k * 17) % 500);

			n->next = first;
			n->owner = self;
			first = n;
			hidden[self] = ~(uintptr_t)n;
			atomic_fetch_add(&turns[self], 1);
		}
		wait_a_little(i);
		hidden[self] = 0;
		for (struct node *n = first, *next; n; n = next) {
			next = n->next;
			check(n->owner == self);
			cache_free(n);
		}
		if (i % 8 == 0)
			check(pthread_join(create(be_born, NULL), NULL) == 0);
	}
	cache_detach();
	return NULL;
}

static unsigned long sum(void)
{
	unsigned long n = nborn;

	for (unsigned i = 0; i < NWORKERS; i++)
		n += turns[i];
	return n;
}

static void mark(uintptr_t from, uintptr_t to, const char *what, void *arg)
{
	(void)what, (void)arg;
	mark_range(from, to);
}

static unsigned long count_unmarked(void)
{
	unsigned long n = 0;

	for (unsigned i = 0; i < NWORKERS; i++) {
		uintptr_t first = hidden[i] ? ~hidden[i] : 0;

		for (struct node *node = (struct node *)first; node; node = node->next)
			n += !mark_is_marked((uintptr_t)node);
	}
	return n;
}

/* How much the threads did while they should have stood still. */
static unsigned long stop_once(unsigned *nmissed, unsigned long *nunmarked)
{
	const struct timespec t = { .tv_nsec = 500000 };

	check(scan_stop());

	unsigned long before = sum();

	*nmissed += scan_stop_info().nmissed;
	nanosleep(&t, NULL);
	check(mark_start());
	check(roots_visit(mark, NULL));
	mark_drain();
	*nunmarked += count_unmarked();
	mark_end();

	unsigned long after = sum();

	scan_resume();
	return after - before;
}

int main(void)
{
	pthread_t thread[NWORKERS];
	unsigned long nmoved = 0, nunmarked = 0;
	unsigned nmissed = 0;

	if (HAS_TSAN) {
		printf("skipped: not under ThreadSanitizer\n");
		return 77;
	}
	core_start();
	check(scan_threads_start());
	for (unsigned i = 0; i < NWORKERS; i++)
		thread[i] = create(work, (void *)&turns[i]);
	for (unsigned round = 0; round < ROUNDS; round++) {
		nmoved += stop_once(&nmissed, &nunmarked);
		wait_a_little(0);
	}
	is_over = true;
	for (unsigned i = 0; i < NWORKERS; i++)
		pthread_join(thread[i], NULL);
	printf("%u stops, %u threads more, %lu turns\n", ROUNDS, nborn, sum());
	if (nmoved || nmissed)
		printf("while stopped %lu turns were made, %u threads did not answer\n", nmoved, nmissed);
	if (nunmarked)
		printf("%lu blocks were held and not marked\n", nunmarked);
	return nmoved || nmissed || nunmarked;
}
