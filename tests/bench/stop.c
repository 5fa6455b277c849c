/* stop.c: how long it takes to stop the world, and to let it go.
 *
 *     build/release/tests/bench/stop
 *
 * Linked with core, not preloaded. Rows: threads that sleep, and threads that run all the time.
 * Figures in microseconds, medians and worst of 50 rounds: from the first signal to the last answer;
 * and the resume, which waits for nobody.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "scan/threads.h"
#include "tests/core.h"

#define NROUNDS 50
#define MOST 200

static _Atomic bool is_over;

static void *sleep_long(void *arg)
{
	while (!is_over)
		usleep(100000);
	return arg;
}

static void *run(void *arg)
{
	while (!is_over)
		;
	return arg;
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(const char *name, void *(*work)(void *), unsigned nthreads)
{
	pthread_t thread[MOST];
	double stop[NROUNDS], resume[NROUNDS];

	is_over = false;
	for (unsigned i = 0; i < nthreads; i++)
		check(pthread_create(&thread[i], NULL, work, NULL) == 0);
	usleep(50000);
	for (unsigned round = 0; round < NROUNDS; round++) {
		check(scan_stop());
		check(scan_stop_info().nthreads == nthreads);
		stop[round] = (double)scan_stop_info().ns / 1e3;
		resume[round] = now_us();
		scan_resume();
		resume[round] = now_us() - resume[round];
		usleep(2000);
	}
	is_over = true;
	for (unsigned i = 0; i < nthreads; i++)
		pthread_join(thread[i], NULL);
	qsort(stop, NROUNDS, sizeof *stop, by_size);
	qsort(resume, NROUNDS, sizeof *resume, by_size);
	printf("%4u threads %-8s stop %8.0f us, worst %8.0f   resume %6.0f us, worst %6.0f\n",
	       nthreads, name, stop[NROUNDS / 2], stop[NROUNDS - 1], resume[NROUNDS / 2],
	       resume[NROUNDS - 1]);
	fflush(stdout);
}

int main(void)
{
	core_start();
	check(scan_threads_start());
	measure("asleep", sleep_long, 1);
	measure("asleep", sleep_long, 16);
	measure("asleep", sleep_long, MOST);
	measure("running", run, 1);
	measure("running", run, 16);
	return 0;
}
