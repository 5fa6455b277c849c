/* pause.c: how long a program stands still for a report, as the report says and as its threads see it.
 *
 * usage: pause MIB NTHREADS [NREPORTS]
 *
 * A heap of MIB of linked blocks of 64 bytes; threads that allocate and free a little, sleep, and note
 * the longest time by which a round came late: first without a report, then while reports are made,
 * one after the other. One line, tab-separated: MiB, threads, least and median of stop, copy and whole pause as
 * the reports say, the longest delay that a thread saw without and with reports; all in
 * microseconds. Run by scripts/pause, with the library preloaded in mode leaks; SPANGC_REPORT names
 * a file with %n, SPANGC_REPORT_FORMAT is json.
 */
#include "tests/check.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>

#define BLOCK_BYTES 56                          /* and the record of mode leaks */
#define NREPORTS_MAX 100
#define NSMALL 16
#define QUIET_MS 2000
#define BETWEEN_MS 200
#define SLEEP_NS_PER_THREAD 50000               /* so that any number of them leaves time for others */

static struct {
	volatile bool is_over;
	unsigned nthreads;
	_Atomic uint64_t latest_ns;             /* of all threads */
} run;

static void **list;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void build(size_t nbytes)
{
	for (size_t n = 0; n < nbytes; n += 64) {
		void **block = malloc(BLOCK_BYTES);

		CHECK(block);
		*block = list;
		list = block;
	}
}

static void note(uint64_t late_ns)
{
	uint64_t seen = atomic_load_explicit(&run.latest_ns, memory_order_relaxed);

	while (late_ns > seen
	       && !atomic_compare_exchange_weak_explicit(&run.latest_ns, &seen, late_ns,
	                                                 memory_order_relaxed,
	                                                 memory_order_relaxed))
		;
}

static void *mutate(void *arg)
{
	struct timespec wait = { .tv_nsec = (long)run.nthreads * SLEEP_NS_PER_THREAD };
	uint64_t due = now_ns() + (uint64_t)wait.tv_nsec;

	while (!run.is_over) {
		void *small[NSMALL];
		uint64_t now;

		nanosleep(&wait, NULL);
		for (int i = 0; i < NSMALL; i++)
			small[i] = malloc(BLOCK_BYTES);
		for (int i = 0; i < NSMALL; i++)
			free(small[i]);
		now = now_ns();
		note(now > due ? now - due : 0);
		due = now + (uint64_t)wait.tv_nsec;
	}
	return arg;
}

static uint64_t take_latest_us(void)
{
	return atomic_exchange_explicit(&run.latest_ns, 0, memory_order_relaxed) / 1000;
}

/* A number of report `n`. */
static uint64_t field(unsigned n, const char *name)
{
	static char text[4096];
	char path[PATH_MAX];
	const char *pattern = getenv("SPANGC_REPORT"), *percent = strstr(pattern, "%n"), *at;
	int fd;

	snprintf(path, sizeof path, "%.*s%u%s", (int)(percent - pattern), pattern, n, percent + 2);
	fd = open(path, O_RDONLY);
	CHECKF(fd >= 0, "%s", path);
	CHECK(read(fd, text, sizeof text - 1) > 0);
	close(fd);
	at = strstr(text, name);
	CHECKF(at, "%s in %s", name, path);
	return strtoull(at + strlen(name), NULL, 10);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Least and median of all reports. */
static void print_figure(unsigned nreports, const char *name)
{
	uint64_t us[NREPORTS_MAX];

	for (unsigned i = 0; i < nreports; i++)
		us[i] = field(i + 1, name);
	qsort(us, nreports, sizeof *us, by_value);
	printf("%llu/%llu\t", (unsigned long long)us[0], (unsigned long long)us[nreports / 2]);
}

int main(int argc, char **argv)
{
	size_t (*leak_report)(void);
	unsigned nreports = argc > 3 ? (unsigned)atoi(argv[3]) : 7;
	uint64_t quiet_us, busy_us;

	CHECKF(argc > 2 && nreports > 0 && nreports <= NREPORTS_MAX, "usage: pause MIB NTHREADS [NREPORTS]");
	leak_report = symbol("spangc_leak_report");
	run.nthreads = (unsigned)atoi(argv[2]);
	build(MIB((size_t)atoi(argv[1])));
	for (unsigned i = 0; i < run.nthreads; i++) {
		pthread_t thread;

		CHECK(pthread_create(&thread, NULL, mutate, NULL) == 0);
	}
	sleep_ms(500);
	take_latest_us();
	sleep_ms(QUIET_MS);
	quiet_us = take_latest_us();
	for (unsigned i = 0; i < nreports; i++) {
		leak_report();
		sleep_ms(BETWEEN_MS);
	}
	busy_us = take_latest_us();
	printf("%s\t%s\t", argv[1], argv[2]);
	print_figure(nreports, "\"stop_us\":");
	print_figure(nreports, "\"copy_us\":");
	print_figure(nreports, "\"pause_us\":");
	printf("%llu\t%llu\n", (unsigned long long)quiet_us, (unsigned long long)busy_us);
	fflush(stdout);
	kill(getpid(), SIGKILL);                /* no report at the end */
	return 0;
}
