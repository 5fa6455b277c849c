/* signal_malloc.c: malloc and free in a signal handler that interrupts malloc and free. No block
 * is ever handed out twice: every block bears its owner's pattern from malloc to free.
 *
 * args: 2
 * variants: SPANGC_MADVISE=dontneed | SPANGC_RELEASE_DELAY=0 | SPANGC_MIN_ALIGN=8
 */
#include "tests/check.h"

#include <pthread.h>
#include <stdatomic.h>

enum { NTHREADS = 2, NBLOCKS = 40 };

struct owner {
	uint64_t       random;
	size_t         tag;
	unsigned char *block[NBLOCKS];
	size_t         size[NBLOCKS];
};

static __thread struct owner in_handler, outside;
static _Atomic bool is_over;
static _Atomic unsigned long handled;

/* One block is checked and replaced. */
static void turn(struct owner *o)
{
	size_t i = next_random(&o->random) % NBLOCKS;

	if (o->block[i]) {
		CHECKF(pattern_holds(o->block[i], o->size[i], o->tag + i), "block of %zu at %p",
		       o->size[i], (void *)o->block[i]);
		if (next_random(&o->random) % 8 == 0) {
			o->block[i] = realloc(o->block[i], o->size[i] * 2);
			CHECK(o->block[i] && pattern_holds(o->block[i], o->size[i], o->tag + i));
		}
		free(o->block[i]);
	}
	o->size[i] = random_size(&o->random) % 5000 + 1;
	o->block[i] = malloc(o->size[i]);
	CHECK(o->block[i]);
	pattern_fill(o->block[i], o->size[i], o->tag + i);
}

static void handler(int signo)
{
	int kept = errno;

	(void)signo;
	if (in_handler.tag)
		for (int i = 0; i < 3; i++)
			turn(&in_handler);
	atomic_fetch_add_explicit(&handled, 1, memory_order_relaxed);
	errno = kept;
}

static void *churn(void *id)
{
	outside.tag = ((size_t)id + 1) << 20;
	outside.random = outside.tag + 1;
	in_handler.random = outside.tag + 77;
	in_handler.tag = outside.tag + 1000;
	while (!atomic_load_explicit(&is_over, memory_order_relaxed))
		turn(&outside);
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned seconds = argc > 1 ? (unsigned)atoi(argv[1]) : 2;
	time_t end = time(NULL) + (time_t)seconds + 1;
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
	pthread_t thread[NTHREADS];

	watchdog(seconds + 60);
	sigaction(SIGUSR1, &action, NULL);
	for (size_t i = 0; i < NTHREADS; i++)
		CHECK(pthread_create(&thread[i], NULL, churn, (void *)i) == 0);
	while (time(NULL) < end)
		for (size_t i = 0; i < 1000; i++) {
			pthread_kill(thread[i % NTHREADS], SIGUSR1);
			if (i % 20 == 0)
				sleep_ms(0);
		}
	atomic_store_explicit(&is_over, true, memory_order_relaxed);
	for (size_t i = 0; i < NTHREADS; i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
	printf("%lu signals handled\n", atomic_load_explicit(&handled, memory_order_relaxed));
	CHECK(atomic_load_explicit(&handled, memory_order_relaxed) > 100);
	return 0;
}
