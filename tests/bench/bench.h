/* bench.h: what every benchmark program shares: clock, memory, sizes, report.
 *
 * One process is one measurement: the allocator is whatever LD_PRELOAD put in
 * place, and the row to run is the program's argument. scripts/bench compiles,
 * runs and compares; `PROGRAM --list` names the rows. Each file here is one
 * program, so everything in this header is static.
 *
 * The harness keeps its own arrays in raw(), never in the allocator it measures,
 * and reports their size so that they can be taken off the resident memory.
 *
 * What a row prints, one line of NAME=VALUE:
 *   row         its name
 *   ns_op       time for one operation: CPU time of the process where one thread
 *               works, elapsed time where several do
 *   ops         operations timed
 *   peak_kb     highest resident memory (VmHWM), harness_kb not taken off
 *   harness_kb  resident memory of the harness's own arrays
 *   idle_kb     resident memory at the end of an idle time, rows of memory.c only
 */
#ifndef SPANGC_BENCH_H
#define SPANGC_BENCH_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

struct row {
	const char *name;
	void (*run)(size_t a, size_t b);
	size_t a, b;                            /* what they are is up to run() */
	clockid_t clock;
};

static struct {
	clockid_t clock;
	double    started_ns;
	double    ns;
	size_t    nops;
	size_t    raw_bytes;
	size_t    idle_kb;
} bench;

/* Ends the program: a benchmark that went wrong must not print a figure. */
UNUSED static _Noreturn void bench_fail(const char *what)
{
	dprintf(STDERR_FILENO, "bench: %s\n", what);
	_exit(1);
}

UNUSED static double bench_clock(void)
{
	struct timespec t;

	clock_gettime(bench.clock, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

UNUSED static void timer_start(void)
{
	bench.started_ns = bench_clock();
}

/* Adds the time since timer_start(), in which `nops` operations were done. */
UNUSED static void timer_stop(size_t nops)
{
	bench.ns += bench_clock() - bench.started_ns;
	bench.nops += nops;
}

/* Zeroed memory of the harness: resident at once, so that it costs no fault later. */
UNUSED static void *raw(size_t nbytes)
{
	void *p = mmap(NULL, nbytes, PROT_READ | PROT_WRITE,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		bench_fail("no memory for the harness");
	bench.raw_bytes += (nbytes + 4095) & ~(size_t)4095;
	return p;
}

/* xorshift64*: each thread has its own state, never 0. */
UNUSED static inline uint64_t rng_next(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}

/* A number below `limit` (itself below 2^32), without a division. */
UNUSED static inline size_t rng_below(uint64_t *state, size_t limit)
{
	return (size_t)(((rng_next(state) >> 32) * limit) >> 32);
}

/* Sizes as programs ask for them: mostly small, a long thin tail; 189 bytes on average.
 * Drawn beforehand, because drawing costs as much as a good malloc. */
#define MIXED_COUNT 4096
static UNUSED uint16_t mixed_sizes[MIXED_COUNT];

UNUSED static void mixed_init(void)
{
	static const struct {
		unsigned upto_permille, least, most;    /* most: bytes, inclusive */
	} part[] = {
		{ 600, 9, 64 }, { 880, 65, 256 }, { 980, 257, 1024 },
		{ 999, 1025, 4096 }, { 1000, 4097, 32768 },
	};
	uint64_t seed = 42;

	for (size_t i = 0; i < MIXED_COUNT; i++) {
		size_t draw = rng_below(&seed, 1000);
		size_t k = 0;

		while (draw >= part[k].upto_permille)
			k++;
		mixed_sizes[i] = (uint16_t)(part[k].least +
		                 rng_below(&seed, part[k].most - part[k].least + 1));
	}
}

UNUSED static inline size_t mixed_size(size_t i)
{
	return mixed_sizes[i % MIXED_COUNT];
}

/* The compiler may neither drop the block nor the stores into it. */
UNUSED static inline void keep(void *p)
{
	__asm__ volatile("" : : "r"(p) : "memory");
}

/* A constructor: writes the first word, which block_drop() expects to find again,
 * and the last byte. `nbytes` is at least 9. */
UNUSED static inline void *block_fill(void *p, size_t nbytes)
{
	if (p == NULL)
		bench_fail("out of memory");
	*(uintptr_t *)p = ~(uintptr_t)p;
	((char *)p)[nbytes - 1] = 1;
	keep(p);
	return p;
}

UNUSED static inline void *block_make(size_t nbytes)
{
	return block_fill(malloc(nbytes), nbytes);
}

/* A destructor: programs look at an object, and change it, before they free it. The
 * mark goes, so that a block handed out twice is noticed when it is dropped twice. */
UNUSED static inline void block_drop(void *p)
{
	if (*(uintptr_t *)p != ~(uintptr_t)p)
		bench_fail("a live block was overwritten");
	*(uintptr_t *)p = 0;
	keep(p);
	free(p);
}

/* A line such as "VmHWM:  1234 kB" of a file in /proc/self, read without allocating. */
UNUSED static size_t proc_kb(const char *path, const char *field)
{
	char text[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof text - 1);
	const char *at;

	close(fd);
	text[n > 0 ? n : 0] = '\0';
	at = strstr(text, field);
	return at ? strtoul(at + strlen(field), NULL, 10) : 0;
}

UNUSED static size_t status_kb(const char *field)
{
	return proc_kb("/proc/self/status", field);
}

UNUSED static void bench_report(const struct row *r)
{
	char line[256];
	int n = snprintf(line, sizeof line,
	                 "row=%s ns_op=%.4f ops=%zu peak_kb=%zu harness_kb=%zu idle_kb=%zu\n",
	                 r->name, bench.ns / (double)(bench.nops ? bench.nops : 1), bench.nops,
	                 status_kb("VmHWM:"), bench.raw_bytes / 1024, bench.idle_kb);

	if (write(STDOUT_FILENO, line, (size_t)n) != n)
		_exit(1);
}

UNUSED static int bench_main(int argc, char **argv, const struct row *rows, size_t nrows)
{
	mixed_init();
	for (size_t i = 0; i < nrows && argc == 2; i++) {
		if (strcmp(argv[1], "--list") == 0)
			dprintf(STDOUT_FILENO, "%s\n", rows[i].name);
		if (strcmp(argv[1], rows[i].name) != 0)
			continue;
		bench.clock = rows[i].clock;
		rows[i].run(rows[i].a, rows[i].b);
		bench_report(&rows[i]);
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--list") == 0)
		return 0;
	dprintf(STDERR_FILENO, "usage: %s --list | ROW\n", argv[0]);
	return 2;
}

#endif
