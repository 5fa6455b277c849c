/* gc_cache.c: a key-value cache of many entries of which few are replaced.
 *
 * usage: gc_cache ENTRIES PERCENT SECONDS EVERY_MS free|leave
 *
 * ENTRIES entries, each with a value of 16 to 79 bytes, in a hash table with chains. For SECONDS,
 * PERCENT of them a second are taken out and new ones put in, evenly, and four times as many are looked
 * up; what goes is freed, or left to the collector. A cycle is forced each EVERY_MS (0: never).
 * Prints
 *     fill_s fill_cpu_s             until the cache is full
 *     cpu_s                         of all threads, in the SECONDS after that, cycles included
 *     full_ms full_cpu_ms nfull     medians of the forced cycles; processor time without the thread
 *                                   that uses the cache
 *     late_us                       longest time from when a thousandth of a second's work was due to
 *                                   its end
 *     rss_mib peak_mib live_mib     live: as asked for
 */
#include "tests/bench/gc_bench.h"

#define NLOOKUPS 4
#define SLICES_PER_SECOND 1000
#define NFULL_MAX 1000

struct entry {
	struct entry *next;
	char *value;
	uint64_t key;
};

static struct entry **bucket;
static size_t nbuckets, nentries, live_bytes;
static uint64_t first_key, next_key;            /* what is in the cache: [first_key, next_key) */
static bool is_freed;
static unsigned percent;
static _Atomic bool is_over;
static _Atomic uint64_t user_ns;                 /* processor time of the thread that uses it */
static uint64_t nfound, latest_ns;

static struct entry **place_of(uint64_t key)
{
	struct entry **at = &bucket[key * 0x9e3779b97f4a7c15u >> 20 & (nbuckets - 1)];

	while (*at && (*at)->key != key)
		at = &(*at)->next;
	return at;
}

static size_t value_bytes(uint64_t key)
{
	return 16 + (key * 2654435761u >> 7 & 63);
}

static void insert(void)
{
	struct entry *e = gc_new(sizeof *e), **at;
	size_t nbytes = value_bytes(next_key);

	e->key = next_key++;
	e->value = gc_new_text(nbytes);
	memset(e->value, (int)e->key, nbytes);
	at = place_of(e->key);
	e->next = NULL;
	*at = e;
	live_bytes += sizeof *e + nbytes;
}

static void evict_oldest(void)
{
	struct entry **at = place_of(first_key), *e = *at;

	live_bytes -= sizeof *e + value_bytes(first_key++);
	*at = e->next;
	if (is_freed) {
		free(e->value);
		free(e);
	}
}

static void look_up(uint64_t *seed)
{
	struct entry *e = *place_of(first_key + random_below(seed, nentries));

	nfound += e && e->value[0] == (char)e->key;
}

static void *use(void *arg)
{
	uint64_t seed = 987654321, due = now_ns();
	double owed = 0;

	while (!is_over) {
		uint64_t now;

		owed += (double)nentries * percent / 100 / SLICES_PER_SECOND;
		for (; owed >= 1; owed--) {
			evict_oldest();
			insert();
		}
		for (size_t i = 0; i < NLOOKUPS * nentries / 100 / SLICES_PER_SECOND; i++)
			look_up(&seed);
		now = now_ns();
		user_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		if (now - due > latest_ns)
			latest_ns = now - due;
		due += 1000000000 / SLICES_PER_SECOND;
		if (now < due)
			nanosleep(&(struct timespec){ .tv_nsec = (long)(due - now) }, NULL);
		else
			due = now;
	}
	return arg;
}

static void collect_each(long every_ms, double seconds)
{
	static uint64_t took[NFULL_MAX], used[NFULL_MAX];
	uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
	size_t n = 0;

	while (now_ns() < end && every_ms > 0 && gc_can_collect() && n < NFULL_MAX) {
		uint64_t started, cpu, user;

		sleep_ms(every_ms);
		started = now_ns();
		cpu = cpu_ns();
		user = user_ns;
		gc_collect();
		took[n] = now_ns() - started;
		used[n++] = cpu_ns() - cpu - (user_ns - user);
	}
	if (now_ns() < end)
		sleep_ms((long)((end - now_ns()) / 1000000));
	printf("full_ms=%.2f full_cpu_ms=%.2f nfull=%zu ", (double)median(took, n) / 1e6,
	       (double)median(used, n) / 1e6, n);
}

int main(int argc, char **argv)
{
	uint64_t started = now_ns(), cpu;
	pthread_t thread;

	if (argc != 6)
		fail("usage: gc_cache ENTRIES PERCENT SECONDS EVERY_MS free|leave");
	gc_start();
	nentries = strtoul(argv[1], NULL, 10);
	percent = (unsigned)atoi(argv[2]);
	is_freed = !strcmp(argv[5], "free");
	for (nbuckets = 1; nbuckets < nentries;)
		nbuckets *= 2;
	bucket = gc_new(nbuckets * sizeof *bucket);
	memset(bucket, 0, nbuckets * sizeof *bucket);
	while (next_key < nentries)
		insert();
	printf("fill_s=%.2f fill_cpu_s=%.2f ", (double)(now_ns() - started) / 1e9, (double)cpu_ns() / 1e9);
	if (pthread_create(&thread, NULL, use, NULL))
		fail("no thread");
	sleep_ms(100);
	latest_ns = 0;
	cpu = cpu_ns();
	collect_each(atol(argv[4]), atof(argv[3]));
	is_over = true;
	pthread_join(thread, NULL);
	printf("cpu_s=%.2f late_us=%.0f rss_mib=%zu peak_mib=%zu live_mib=%zu found=%d\n",
	       (double)(cpu_ns() - cpu) / 1e9, (double)latest_ns / 1e3, status_kb("VmRSS:") / 1024,
	       status_kb("VmHWM:") / 1024, (live_bytes + nbuckets * sizeof *bucket) >> 20, nfound > 0);
	return 0;
}
