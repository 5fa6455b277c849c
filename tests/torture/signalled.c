/* signalled.c: handlers of a fast timer allocate, free and exchange objects wherever they interrupt the
 * program, in malloc and in the collector's own work too.
 *
 * also: SPANGC_VERIFY=1 | SPANGC_GC_FREE=ignore | SPANGC_STACKS=all
 */
#include "tests/torture/torture.h"
#include "tests/torture/objects.h"

#include <sys/syscall.h>

#define NTHREADS 3
#define NPLACES 64

static _Atomic uint64_t next_serial = 1;

static __thread struct {
	struct ref *place;                      /* a block; handlers write there */
	uint64_t rng;
	volatile bool is_ready;
} own;

/* What it takes out it holds alone. */
static void on_timer(int signo)
{
	int saved = errno;
	struct ref *r, old;

	(void)signo;
	if (!own.is_ready)
		return;
	r = &own.place[next_random(&own.rng) % NPLACES];
	old = *r;
	r->word = 0;
	*r = object_make(next_serial++);
	torture_count(object_walk(old, next_random(&own.rng) % 2));
	free(hide(malloc(random_size(&own.rng))));
	errno = saved;
}

static timer_t start_timer(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
	struct itimerspec often = { { 0, 300000 }, { 0, 300000 } };
	timer_t timer;

	event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
	CHECK(timer_settime(timer, 0, &often, NULL) == 0);
	return timer;
}

static void *work(void *arg)
{
	uint64_t rng = torture.seed + (uintptr_t)arg * 2;
	struct ref held[NPLACES] = { { 0, 0 } };
	timer_t timer;

	own.place = calloc(NPLACES, sizeof *own.place);
	own.rng = rng ^ 0xabcdef;
	own.is_ready = true;
	timer = start_timer();
	while (torture_goes_on()) {
		struct ref *r = &held[next_random(&rng) % NPLACES];

		torture_count(object_walk(*r, true));
		*r = object_make(next_serial++);
		make_garbage(&rng);
	}
	timer_delete(timer);
	own.is_ready = false;
	for (unsigned i = 0; i < NPLACES; i++)
		torture_count(object_walk(own.place[i], true));
	return NULL;
}

int main(void)
{
	struct sigaction action = { .sa_handler = on_timer, .sa_flags = SA_RESTART };
	pthread_t thread[NTHREADS];

	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	torture_begin();
	for (unsigned i = 0; i < NTHREADS; i++)
		thread[i] = start_thread(work, (void *)(uintptr_t)(i + 1));
	for (unsigned i = 0; i < NTHREADS; i++)
		join_thread(thread[i]);
	return torture_end();
}
