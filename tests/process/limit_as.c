/* limit_as.c: under `ulimit -v` of 500 MB, 2 GB and 8 GB what fits runs: a small program, one
 * that takes 60 % of the limit by malloc, one with 20 threads; what does not fit is refused.
 *   leaks: marking takes memory of its own
 */
#include "tests/process/process.h"

#include <pthread.h>

static size_t limit;

static void set_limit(void)
{
	struct rlimit r = { limit, limit };

	CHECK(setrlimit(RLIMIT_AS, &r) == 0);
}

/* Blocks of 1 MiB, one byte of each page-run touched. */
static void take_most(size_t total)
{
	for (size_t taken = 0; taken < total; taken += MIB(1)) {
		char *p = malloc(MIB(1));
		CHECKF(p, "after %zu of %zu MiB", taken / MIB(1), total / MIB(1));
		p[0] = 1;
	}
}

static void *small_blocks(void *unused)
{
	for (size_t i = 0; i < 1000; i++)
		free(malloc(i));
	return unused;
}

static void twenty_threads(void)
{
	pthread_t t[20];

	for (size_t i = 0; i < COUNT(t); i++)
		CHECKF(pthread_create(&t[i], NULL, small_blocks, NULL) == 0, "thread %zu", i);
	for (size_t i = 0; i < COUNT(t); i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	check_heap_works();
}

/* All there is, until NULL; then the heap still serves. */
static void take_all(void)
{
	char *last = NULL, *p;

	while ((p = malloc(MIB(4))) != NULL) {
		memcpy(p, &last, sizeof last);
		last = p;
	}
	CHECK(errno == ENOMEM);
	while (last) {
		memcpy(&p, last, sizeof p);
		free(last);
		last = p;
	}
	check_heap_works();
}

static int child(const char *what)
{
	struct rlimit r;

	CHECK(getrlimit(RLIMIT_AS, &r) == 0);
	check_heap_works();
	if (strcmp(what, "most") == 0)
		take_most(r.rlim_cur / 10 * 6);
	else if (strcmp(what, "threads") == 0)
		twenty_threads();
	else if (strcmp(what, "all") == 0)
		take_all();
	return 0;
}

int main(int argc, char **argv)
{
	static const size_t limits[] = { 500, 2000, 8000 };
	static const char *const programs[] = { "small", "most", "threads", "all" };
	struct outcome o;

	if (argc > 1)
		return child(argv[1]);
	for (size_t i = 0; i < COUNT(limits); i++)
		for (size_t j = 0; j < COUNT(programs); j++) {
			limit = MIB(limits[i]);
			run_self(&o, programs[j], set_limit);
			CHECKF(ended_well(&o) && o.nlines == 0, "%zu MB, %s: %x %s", limits[i],
			       programs[j], (unsigned)o.status, o.err);
		}
	return 0;
}
