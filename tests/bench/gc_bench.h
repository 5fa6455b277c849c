/* gc_bench.h: what the programs gc_*.c share: one source for every collector, clocks, delays.
 *
 * Compiled as it is, the collector is what LD_PRELOAD put in place: libspangc in mode gc, or none
 * (glibc). With -DWITH_BDWGC it is bdwgc, linked. Only gc_bench.h knows which. Each gc_*.c is one
 * program, so everything here is static.
 */
#ifndef TESTS_BENCH_GC_BENCH_H
#define TESTS_BENCH_GC_BENCH_H

#define _GNU_SOURCE
#ifdef WITH_BDWGC
#define GC_THREADS
#include <gc/gc.h>
#endif
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))
#define MIB(n) ((size_t)(n) << 20)
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- The collector */

#ifdef WITH_BDWGC
static bool is_incremental;

UNUSED static void gc_start(void)
{
	GC_INIT();
	is_incremental = getenv("BDWGC_INCREMENTAL");
	if (is_incremental)
		GC_enable_incremental();
}

UNUSED static void *gc_new(size_t nbytes)
{
	return GC_MALLOC(nbytes);
}

UNUSED static void *gc_new_text(size_t nbytes)
{
	return GC_MALLOC_ATOMIC(nbytes);
}

UNUSED static void gc_pause_collector(bool is_paused)
{
	if (is_paused)
		GC_disable();
	else
		GC_enable();
}

UNUSED static bool gc_can_collect(void)
{
	return true;
}

UNUSED static void gc_collect(void)
{
	if (!is_incremental) {
		GC_gcollect();
		return;
	}
	GC_start_incremental_collection();
	while (GC_collect_a_little())
		;
}
#else
__attribute__((weak)) size_t spangc_collect(void);

UNUSED static void gc_start(void)
{
}

UNUSED static void *gc_new(size_t nbytes)
{
	return malloc(nbytes);
}

/* Preloaded, a program as it is: it does not say what holds no pointer. */
UNUSED static void *gc_new_text(size_t nbytes)
{
	return malloc(nbytes);
}

UNUSED static void gc_pause_collector(bool is_paused)
{
	(void)is_paused;                        /* SPANGC_GC_PERCENT=off does it */
}

UNUSED static bool gc_can_collect(void)
{
	return spangc_collect;
}

UNUSED static void gc_collect(void)
{
	if (spangc_collect)
		spangc_collect();
}
#endif

/* ---- Clocks and random numbers */

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

UNUSED static uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

UNUSED static uint64_t cpu_ns(void)
{
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

UNUSED static void sleep_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&t, &t) != 0)
		;
}

UNUSED static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* A number below `limit`, without a division. */
UNUSED static size_t random_below(uint64_t *state, size_t limit)
{
	return (size_t)((next_random(state) >> 32) * limit >> 32);
}

UNUSED static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "gc bench: %s\n", what);
	exit(1);
}

/* ---- Memory as /proc/self/status has it */

UNUSED static size_t status_kb(const char *field)
{
	static char text[8192];
	FILE *f = fopen("/proc/self/status", "r");
	size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
	char *at;

	if (f)
		fclose(f);
	text[n] = '\0';
	at = strstr(text, field);
	return at ? strtoul(at + strlen(field), NULL, 10) : 0;
}

/* ---- Delays: a histogram with 8 buckets an octave, small: a collector reads it as roots */

#define SUB_BITS 3
#define NBUCKETS (64 << SUB_BITS)

struct delays {
	uint64_t n[NBUCKETS];
	uint64_t longest_ns;
};

static unsigned delay_bucket(uint64_t ns)
{
	unsigned octave = ns < 1 << SUB_BITS ? 0 : 63 - (unsigned)__builtin_clzll(ns) - SUB_BITS;

	return (octave << SUB_BITS) + (unsigned)(ns >> octave);
}

UNUSED static void delay_note(struct delays *d, uint64_t ns)
{
	d->n[delay_bucket(ns)]++;
	if (ns > d->longest_ns)
		d->longest_ns = ns;
}

/* The delay that `part` of all are below, to 1 in 8. */
UNUSED static uint64_t delay_quantile(const struct delays *d, double part)
{
	uint64_t all = 0, n = 0;
	unsigned i = 0;

	for (unsigned b = 0; b < NBUCKETS; b++)
		all += d->n[b];
	while (i < NBUCKETS - 1 && (double)(n += d->n[i]) < part * (double)all)
		i++;
	if (i < 2 << SUB_BITS)
		return i;
	return ((uint64_t)(i & ((1 << SUB_BITS) - 1)) + (1 << SUB_BITS)) << ((i >> SUB_BITS) - 1);
}

UNUSED static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

UNUSED static uint64_t median(uint64_t *of, size_t n)
{
	qsort(of, n, sizeof *of, by_value);
	return n ? of[n / 2] : 0;
}

#endif
