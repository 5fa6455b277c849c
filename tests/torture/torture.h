/* torture.h: the frame of programs that make the collector's work hard.
 *
 * Each runs for TORTURE_SECONDS (1) under every way of seeing writes, and with the other settings its
 * first comment names in `also:` (as `variants:`). It prints its seed. While it runs, a thread asks
 * for one collection after the other, and the heap may grow by a tenth only (SPANGC_GC_PERCENT=10),
 * so that collections never end. A program ends well if no object is lost, and no call fails.
 *
 * They run in the other modes, too, and without the library: then nothing is collected; in mode leaks
 * there is a report instead.
 */
#ifndef TESTS_TORTURE_H
#define TESTS_TORTURE_H

#include "tests/check.h"
#include "tests/wipe.h"

#include <pthread.h>
#include <sched.h>

extern size_t spangc_collect(void) __attribute__((weak));
extern int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static struct {
	uint64_t seed;
	struct timespec end;
	pthread_t collector;
	_Atomic bool is_over;
	_Atomic unsigned ncollections;
	_Atomic uint64_t nlooks;                /* what a program counts */
} torture;

static inline bool torture_mode_is(const char *name)
{
	const char *mode = getenv("SPANGC_MODE");

	return mode && strcmp(mode, name) == 0;
}

static inline bool torture_collects(void)
{
	return torture_mode_is("gc") && spangc_collect;
}

static inline bool torture_ignores_free(void)
{
	const char *how = getenv("SPANGC_GC_FREE");

	return how && strcmp(how, "ignore") == 0;
}

/* In mode leaks the world is stopped for a report. */
static inline void collect(void)
{
	if (torture_mode_is("leaks") && __lsan_do_recoverable_leak_check)
		__lsan_do_recoverable_leak_check();
	if (!torture_collects())
		return;
	spangc_collect();
	atomic_fetch_add_explicit(&torture.ncollections, 1, memory_order_relaxed);
}

/* Collections one after the other, with short rests. */
static inline void *collect_on_and_on(void *arg)
{
	uint64_t rng = torture.seed ^ 0x5555;

	while (!torture.is_over) {
		collect();
		usleep((useconds_t)(next_random(&rng) % 4000));
	}
	return arg;
}

static inline unsigned torture_seconds(void)
{
	const char *text = getenv("TORTURE_SECONDS");

	return text ? (unsigned)atoi(text) : 1;
}

/* For programs whose main thread or signal masks are special: no thread is started. */
static inline void torture_begin_alone(void)
{
	torture.seed = seed_from_env();
	watchdog(torture_seconds() + 60);
	CHECK(clock_gettime(CLOCK_MONOTONIC, &torture.end) == 0);
	torture.end.tv_sec += torture_seconds();
}

static inline void torture_begin(void)
{
	torture_begin_alone();
	CHECK(pthread_create(&torture.collector, NULL, collect_on_and_on, NULL) == 0);
}

static inline bool torture_goes_on(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec < torture.end.tv_sec ||
	       (t.tv_sec == torture.end.tv_sec && t.tv_nsec < torture.end.tv_nsec);
}

/* A program that never was collected has shown nothing. */
static inline int torture_end(void)
{
	torture.is_over = true;
	if (torture.collector)
		CHECK(pthread_join(torture.collector, NULL) == 0);
	printf("%u collections asked for, %llu looks\n", torture.ncollections,
	       (unsigned long long)torture.nlooks);
	CHECK(torture.ncollections > 0 || !torture_collects());
	return 0;
}

static inline void torture_count(uint64_t n)
{
	atomic_fetch_add_explicit(&torture.nlooks, n, memory_order_relaxed);
}

/* For `n` collections to pass, or the end to come: those who wait do so for a window to open. */
static inline void let_collections_pass(unsigned n)
{
	unsigned end = torture.ncollections + n;

	if (!torture_collects())
		return;
	while ((int)(end - torture.ncollections) > 0 && !torture.is_over)
		usleep(200);
}

/* What nobody points to any more, or is freed at once where nobody collects. */
static NOINLINE void make_garbage(uint64_t *rng)
{
	size_t nbytes = random_size(rng);
	void *p = hide(malloc(nbytes));

	CHECK(p);
	memset(p, 0xdb, nbytes);
	if (!torture_collects() || next_random(rng) % 2)
		free(p);
}

/* pthread_create as it is wanted here. */
static inline pthread_t start_thread(void *(*run)(void *), void *arg)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, run, arg);

	CHECKF(error == 0, "pthread_create: %s", strerror(error));
	return thread;
}

static inline void *join_thread(pthread_t thread)
{
	void *result;

	CHECK(pthread_join(thread, &result) == 0);
	return result;
}

#endif
