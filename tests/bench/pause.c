/* pause.c: how long a program stands still for a report, as the report says and as its threads see it.
 *
 * usage: pause MIB NTHREADS [NREPORTS]
 *
 * A heap of MIB of linked blocks of 64 bytes; threads that allocate and free a little, sleep, and note
 * how late each round came: first without a report, then while reports are made, one after the other.
 * One line, tab-separated, in microseconds: MiB, threads; least and median of stop, copy and whole
 * pause as the reports say; of the delays that the threads saw, without and with reports, median, 99 %,
 * 99.9 % and the longest. Run by scripts/pause, with the library preloaded in mode leaks;
 * SPANGC_REPORT names a file with %n, SPANGC_REPORT_FORMAT is json.
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
#define BUCKET_US 20
#define NBUCKETS 50000                          /* the last one: a second and later */
#define SLEEP_NS_PER_THREAD 50000               /* so that any number of them leaves time for others */

static struct {
	volatile bool is_over;
	unsigned nthreads;

	/* Any thread, atomic: the histogram of delays. */
	_Atomic uint64_t nlate[NBUCKETS];
	_Atomic uint64_t latest_us;
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

static void note(uint64_t late_us)
{
	uint64_t bucket = late_us / BUCKET_US, seen = atomic_load(&run.latest_us);

	atomic_fetch_add(&run.nlate[bucket < NBUCKETS ? bucket : NBUCKETS - 1], 1);
	while (late_us > seen && !atomic_compare_exchange_weak(&run.latest_us, &seen, late_us))
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
		note(now > due ? (now - due) / 1000 : 0);
		due = now + (uint64_t)wait.tv_nsec;
	}
	return arg;
}

static uint64_t quantile(const uint64_t *nlate, double part)
{
	uint64_t all = 0, n = 0;
	size_t i = 0;

	for (size_t b = 0; b < NBUCKETS; b++)
		all += nlate[b];
	while (i < NBUCKETS - 1 && (double)(n += nlate[i]) < part * (double)all)
		i++;
	return (i + 1) * BUCKET_US;
}

/* Since the last call, as a column. */
static void take_delays(char *text, size_t size)
{
	static uint64_t nlate[NBUCKETS];

	for (size_t b = 0; b < NBUCKETS; b++)
		nlate[b] = atomic_exchange(&run.nlate[b], 0);
	snprintf(text, size, "%llu/%llu/%llu/%llu", (unsigned long long)quantile(nlate, 0.5),
	         (unsigned long long)quantile(nlate, 0.99), (unsigned long long)quantile(nlate, 0.999),
	         (unsigned long long)atomic_exchange(&run.latest_us, 0));
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
	char quiet[100], busy[100];

	CHECKF(argc > 2 && nreports > 0 && nreports <= NREPORTS_MAX, "usage: pause MIB NTHREADS [NREPORTS]");
	leak_report = symbol("spangc_leak_report");
	run.nthreads = (unsigned)atoi(argv[2]);
	build(MIB((size_t)atoi(argv[1])));
	for (unsigned i = 0; i < run.nthreads; i++) {
		pthread_t thread;

		CHECK(pthread_create(&thread, NULL, mutate, NULL) == 0);
	}
	sleep_ms(500);
	take_delays(quiet, sizeof quiet);
	sleep_ms(QUIET_MS);
	take_delays(quiet, sizeof quiet);
	for (unsigned i = 0; i < nreports; i++) {
		leak_report();
		sleep_ms(BETWEEN_MS);
	}
	take_delays(busy, sizeof busy);
	printf("%s\t%s\t", argv[1], argv[2]);
	print_figure(nreports, "\"stop_us\":");
	print_figure(nreports, "\"copy_us\":");
	print_figure(nreports, "\"pause_us\":");
	printf("%s\t%s\n", quiet, busy);
	fflush(stdout);
	kill(getpid(), SIGKILL);                /* no report at the end */
	return 0;
}
