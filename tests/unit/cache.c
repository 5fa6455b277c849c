/* cache.c: a thread's magazines: refills, flushes, nested use, threads' ends, double frees. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/core.h"
#include "tests/unit/capture.h"

#define BYTES 48
#define BIG 256                                 /* MAX of them are 5 MB */
#define MAX 20000

static void *blocks[MAX];

static void start_and_warn(void)
{
	knobs.misuse = KNOB_MISUSE_WARN;
	core_start();
}

static void start_min8_and_warn(void)
{
	knobs.misuse = KNOB_MISUSE_WARN;
	core_start_min8();
}

static class_idx granule(void *p)
{
	return atomic_load_explicit(heap_granule((uintptr_t)p), memory_order_relaxed);
}

static void set_granule(void *p, class_idx c)
{
	atomic_store_explicit(heap_granule((uintptr_t)p), c, memory_order_relaxed);
}

static unsigned cap_of(size_t nbytes)
{
	return cache_tls.cache->cap[sizeclass_of_in(heap.classes, nbytes)];
}

static size_t slots_of(size_t nbytes)
{
	return cache_count_slots(cache_tls.cache, sizeclass_of_in(heap.classes, nbytes));
}

/* Allocates blocks[from..limit), each with its number in it. */
static void fill(unsigned from, unsigned limit, size_t nbytes)
{
	for (unsigned i = from; i < limit; i++) {
		blocks[i] = cache_alloc(nbytes);
		cr_assert_not_null(blocks[i]);
		memset(blocks[i], 0, nbytes);
		memcpy(blocks[i], &i, nbytes < sizeof i ? nbytes : sizeof i);
	}
}

/* Frees them; a number that is another's means that two blocks were one. */
static void drain(unsigned from, unsigned limit)
{
	for (unsigned i = from; i < limit; i++) {
		cr_assert_eq(memcmp(blocks[i], &i, sizeof i), 0, "block %u", i);
		cache_free(blocks[i]);
	}
}

static void *free_and_detach(void *p)
{
	cache_free(p);
	cache_detach();
	return NULL;
}

/* --- the first allocation --- */

static int nattached;

static void attached_and_allocates(void)
{
	nattached++;
	blocks[1] = cache_alloc(BYTES);
}

Test(cache, the_first_allocation_attaches_and_the_hook_may_allocate, .init = core_start)
{
	hooks.thread_attached = attached_and_allocates;
	cr_assert_null(cache_tls.cache);
	blocks[0] = cache_alloc(BYTES);
	cr_assert_not_null(blocks[0]);
	cr_assert_not_null(blocks[1]);
	cr_assert_neq(blocks[0], blocks[1]);
	blocks[2] = cache_alloc(100);
	cr_assert_eq(nattached, 1);
	cr_assert_eq(cache_tls.mags, &cache_tls.cache->mags);
}

Test(cache, the_first_allocation_starts_everything)
{
	hooks.start = core_start;
	cr_assert_not_null(cache_alloc(1));
}

Test(cache, without_a_heap_there_is_nothing)
{
	cr_assert_null(cache_alloc(1));
	cr_assert_not(cache_is_started());
	cr_assert_null(cache_alloc_class(3));
}

Test(cache, a_free_may_be_a_threads_first_call, .init = core_start)
{
	fill(0, 1, BYTES);
	core_in_thread(free_and_detach, blocks[0]);
	cr_assert_eq(granule(blocks[0]), 0);
}

/* --- magazines --- */

Test(cache, a_magazine_begins_small_and_grows, .init = core_start)
{
	unsigned first, cap;

	fill(0, 1, BYTES);
	first = cap = cap_of(BYTES);
	cr_assert_leq(first, 16);
	cr_assert_lt(slots_of(BYTES), first);
	for (unsigned i = 1; i < 1000; i++) {
		fill(i, i + 1, BYTES);
		cap = cap_of(BYTES);
		cr_assert_lt(slots_of(BYTES), cap);
	}
	cr_assert_geq(cap, 2 * first);
	cr_assert_lt(cap, MAGAZINE_SLOTS);
}

Test(cache, the_newest_slot_is_used_first, .init = core_start)
{
	fill(0, 3, BYTES);
	cache_free(blocks[0]);
	cache_free(blocks[1]);
	cr_assert_eq(cache_alloc(BYTES), blocks[1]);
	cr_assert_eq(cache_alloc(BYTES), blocks[0]);
}

Test(cache, a_block_has_its_class_written_down_while_allocated, .init = core_start)
{
	for (size_t nbytes = 0; nbytes <= SIZECLASS_MAX; nbytes += 1 + nbytes / 16) {
		void *p = cache_alloc(nbytes);
		class_idx c = granule(p);

		cr_assert_eq(c, sizeclass_of(nbytes));
		cr_assert_eq(heap_span((uintptr_t)p)->class, c);
		cr_assert_geq(heap_span((uintptr_t)p)->slot_bytes, nbytes);
		cr_assert_eq((uintptr_t)p % 16, 0);
		memset(p, 1, nbytes);
		cache_free(p);
		cr_assert_eq(granule(p), 0);
	}
}

Test(cache, a_full_magazine_takes_no_more_and_loses_nothing, .init = core_start)
{
	unsigned n = 0, cap;

	fill(0, 400, BYTES);
	cap = cap_of(BYTES);
	while (slots_of(BYTES) < cap)
		cache_free(blocks[n++]);
	cache_free(blocks[n++]);
	cr_assert_leq(slots_of(BYTES), cap);
	cr_assert_gt(slots_of(BYTES), 0);
	core_verify();

	page_idx used = core_used_pages();

	fill(0, n, BYTES);
	cr_assert_eq(core_used_pages(), used);
	drain(0, 400);
	cr_assert(core_returns_all_pages());
}

/* Fills all blocks; the most that their magazine takes meanwhile (less where a span ends). */
static unsigned fill_all(size_t nbytes)
{
	unsigned most = 0;

	for (unsigned i = 0; i < MAX; i++) {
		fill(i, i + 1, nbytes);
		most = cap_of(nbytes) > most ? cap_of(nbytes) : most;
	}
	return most;
}

Test(cache, a_magazine_shrinks_when_much_becomes_free, .init = core_start)
{
	unsigned cap = fill_all(BIG);

	drain(0, MAX / 2);
	cr_assert_gt(cap_of(BIG), cap / 2, "many are out still");
	drain(MAX / 2, MAX);
	cr_assert_lt(cap_of(BIG), cap / 2);
	cr_assert_eq(fill_all(BIG), cap, "and grows again");
	drain(0, MAX);
	cr_assert(core_returns_all_pages());
}

ParameterizedTestParameters(cache, blocks_of_every_size_are_apart_and_come_back)
{
	static size_t sizes[] = { 4, 16, 17, 48, 128, 129, 1000, 1024, 1025, 5000, 8192, 12000,
	                          20000, 32768 };

	return cr_make_param_array(size_t, sizes, sizeof sizes / sizeof *sizes);
}

ParameterizedTest(size_t *nbytes, cache, blocks_of_every_size_are_apart_and_come_back,
                  .init = core_start)
{
	unsigned n = (unsigned)(MIB(16) / *nbytes) < MAX ? (unsigned)(MIB(16) / *nbytes) : MAX;

	for (int round = 0; round < 3; round++) {
		fill(0, n, *nbytes);
		core_verify();
		drain(0, n);
		core_verify();
		cr_assert_leq(slots_of(*nbytes) * *nbytes, KIB(64), "no hoarding");
	}
	cr_assert(core_returns_all_pages());
}

Test(cache, scanned_and_unscanned_blocks_share_no_span, .init = core_start)
{
	class_idx c = sizeclass_of(BYTES);
	void *p = cache_alloc(BYTES), *q = cache_alloc_class(sizeclass_noscan(c));

	cr_assert_eq(granule(q), sizeclass_noscan(c));
	cr_assert_neq(heap_span((uintptr_t)p), heap_span((uintptr_t)q));
	cr_assert(sizeclass_is_noscan(heap_span((uintptr_t)q)->class));
	cache_free(p);
	cache_free(q);
	cr_assert(core_returns_all_pages());
}

Test(cache, without_memory_allocation_fails_and_later_works, .init = core_start)
{
	unsigned n = 0;
	void *p;

	fill(0, 10, 32768);
	core_refuse_memory(true);
	while ((p = cache_alloc(1000)) && n < 5000)
		blocks[100 + n++] = p;
	core_refuse_memory(false);
	cr_assert_null(p);
	core_verify();
	blocks[99] = cache_alloc(1000);
	cr_assert_not_null(blocks[99]);
	for (unsigned i = 99; i < 100 + n; i++)
		cache_free(blocks[i]);
	drain(0, 10);
	cr_assert(core_returns_all_pages());
}

Test(cache, a_thread_that_gets_no_cache_still_allocates, .init = core_start)
{
	void *p, *q;

	p = central_alloc(3);                   /* 1 MiB, tables and 256 KiB of records are there */
	while (meta_alloc(KIB(4), 64) && meta_bytes() < MIB(1))
		;
	core_refuse_memory(true);
	while (meta_alloc(KIB(4), 64))
		;
	q = cache_alloc(BYTES);
	core_refuse_memory(false);
	cr_assert_not_null(p);
	cr_assert_not_null(q);
	cr_assert_null(cache_tls.cache);
	cache_free(q);
	cr_assert_eq(granule(q), 0);
	cr_assert_not_null(cache_alloc(BYTES));
	cr_assert_not_null(cache_tls.cache, "the next call may");
}

/* --- SPANGC_MIN_ALIGN=8 --- */

Test(cache, eight_byte_slots_work_without_the_hot_path, .init = core_start_min8)
{
	for (int round = 0; round < 2; round++) {
		fill(0, 3000, 8);
		cr_assert_eq(heap_span((uintptr_t)blocks[0])->slot_bytes, 8);
		cr_assert_eq(cache_tls.mags, &cache_dummy);
		drain(0, 3000);
	}
	fill(0, 3000, 24);
	core_verify();
	drain(0, 3000);
	cr_assert(core_returns_all_pages());
}

Test(cache, double_frees_of_eight_byte_slots_are_found, .init = start_min8_and_warn)
{
	struct capture c;
	char got[500];

	fill(0, 2, 8);
	cache_free(blocks[1]);
	capture_begin(&c);
	cache_free(blocks[1]);
	cache_free((char *)blocks[0] + 4);
	cr_assert_eq(capture_end(&c, got, sizeof got), 2, "%s", got);
	cr_assert_not_null(strstr(got, "double free of"));
	cr_assert_not_null(strstr(got, "interior pointer, 4 bytes into a block of 8"));
	cr_assert_neq(granule(blocks[0]), 0, "the block stays");
}

/* --- nested use: as a signal handler that interrupted malloc or free --- */

static void nested(struct magazines **hand)
{
	size_t before;

	fill(0, 100, BYTES);
	before = slots_of(BYTES);

	struct magazines *m = cache_enter(hand);

	fill(100, 1000, BYTES);                 /* drain() finds any that is there twice */
	drain(50, 100);
	drain(500, 1000);
	cr_assert_eq(*hand, &cache_dummy);
	cr_assert_null(cache_lock_spans());
	cache_leave(hand, m);
	cr_assert_eq(slots_of(BYTES), before, "the magazine was left alone");
	fill(500, 1500, BYTES);
	drain(0, 50);
	drain(100, 1500);
	cr_assert(core_returns_all_pages());
}

Test(cache, a_handler_inside_malloc_gets_blocks_of_its_own, .init = core_start)
{
	nested(&cache_tls.mags);
}

Test(cache, a_handler_inside_malloc_gets_eight_byte_blocks_too, .init = core_start_min8)
{
	nested(&cache_tls.cold_mags);
}

Test(cache, a_handler_inside_malloc_may_use_large_blocks, .init = core_start)
{
	fill(0, 1, BYTES);

	struct magazines *m = cache_enter(&cache_tls.mags);
	void *p = core_malloc(KIB(100));

	p = large_resize(p, KIB(500));
	cr_assert_not_null(p);
	cache_free(p);
	cache_leave(&cache_tls.mags, m);
	drain(0, 1);
	cr_assert(core_returns_all_pages());
}

Test(cache, a_handler_may_come_while_the_lock_of_the_spans_is_held, .init = core_start)
{
	fill(0, 1, BYTES);

	struct spanset *set = cache_lock_spans();

	cr_assert_eq(set, &cache_tls.cache->spans);
	fill(1, 500, BYTES);
	drain(1, 500);
	scavenge_all();
	cache_unlock_spans(set);
	drain(0, 1);
	cr_assert(core_returns_all_pages());
}

static void *is_interrupted_in_its_first_free(void *p)
{
	struct magazines *m = cache_enter(&cache_tls.mags);     /* free() begins ... */
	void *q = cache_alloc(BYTES);                           /* the handler: attaches */

	cache_free_slow(m, granule(p), p, NULL);                /* ... and goes on */

	bool is_as_usual = cache_tls.mags == &cache_tls.cache->mags;

	cache_free(q);
	cache_detach();
	return is_as_usual ? p : NULL;
}

Test(cache, a_handler_inside_a_threads_first_free_may_attach, .init = core_start)
{
	fill(0, 1, BYTES);
	cr_assert_eq(core_in_thread(is_interrupted_in_its_first_free, blocks[0]), blocks[0]);
	cr_assert(core_returns_all_pages());
}

Test(cache, a_double_free_in_a_handler_is_reported, .init = core_start, .signal = SIGABRT)
{
	fill(0, 1, BYTES);
	cache_enter(&cache_tls.mags);
	cache_free(blocks[0]);
	cache_free(blocks[0]);
}

/* --- double frees --- */

Test(cache, a_double_free_aborts, .init = core_start, .signal = SIGABRT)
{
	fill(0, 1, BYTES);
	cache_free(blocks[0]);
	cache_free(blocks[0]);
}

Test(cache, a_double_free_is_one_line_and_no_harm_with_warn, .init = start_and_warn)
{
	struct capture c;
	char got[500], wanted[200];

	fill(0, 2, BYTES);
	cache_free(blocks[0]);
	capture_begin(&c);
	cache_free(blocks[0]);
	cr_assert_eq(capture_end(&c, got, sizeof got), 1);
	snprintf(wanted, sizeof wanted, "==%d==WARNING: spangc: double free of %p in free()\n",
	         getpid(), blocks[0]);
	cr_assert_str_eq(got, wanted);
	fill(2, 500, BYTES);
	drain(1, 500);
	cr_assert(core_returns_all_pages());
}

Test(cache, null_is_freed_in_silence, .init = core_start)
{
	cache_free(NULL);
	fill(0, 1, BYTES);
	cache_free(NULL);
}

/* As two threads do that see the block allocated at the same instant. */
static void *free_at_the_same_instant(void *p)
{
	set_granule(p, sizeclass_of(BYTES));
	cache_free(p);
	cache_empty_own();
	cache_detach();
	return NULL;
}

static bool is_told_of_a_double_free(const char *got, const void *p)
{
	char wanted[100];

	snprintf(wanted, sizeof wanted, "double free of %p in free()\n", p);
	return strstr(got, wanted) != NULL;
}

Test(cache, two_frees_at_the_same_instant_by_owner_and_stranger, .init = start_and_warn)
{
	struct capture c;
	char got[500];

	fill(0, 2, BYTES);
	capture_begin(&c);
	cache_free(blocks[0]);
	core_in_thread(free_at_the_same_instant, blocks[0]);
	cache_empty_own();
	scavenge_all();
	cr_assert_not_null(cache_alloc(1000));
	capture_end(&c, got, sizeof got);
	cr_assert(is_told_of_a_double_free(got, blocks[0]), "%s", got);
}

Test(cache, two_frees_at_the_same_instant_by_strangers, .init = start_and_warn)
{
	struct capture c;
	char got[500];

	fill(0, 2, BYTES);
	capture_begin(&c);
	core_in_thread(free_and_detach, blocks[0]);
	core_in_thread(free_at_the_same_instant, blocks[0]);
	capture_end(&c, got, sizeof got);
	cr_assert(is_told_of_a_double_free(got, blocks[0]), "%s", got);
}

static void *alloc_detached(void *arg)
{
	void *p = cache_alloc(BYTES);

	(void)arg;
	cache_detach();
	return p;
}

Test(cache, a_double_free_in_a_span_of_nobody_is_reported, .init = start_and_warn)
{
	struct capture c;
	char got[500];
	void *keep = core_in_thread(alloc_detached, NULL), *p = central_alloc(sizeclass_of(BYTES));

	set_granule(p, sizeclass_of(BYTES));
	capture_begin(&c);
	cache_free(p);
	cache_empty_own();                      /* to central, where it is harvested */
	central_tidy(false);
	core_in_thread(free_at_the_same_instant, p);
	scavenge_all();
	cr_assert_not_null(cache_alloc(1000));
	cr_assert_not_null(central_alloc(sizeclass_of(BYTES)));
	capture_end(&c, got, sizeof got);
	cr_assert(is_told_of_a_double_free(got, p), "%s", got);
	cr_assert_not_null(keep);
}

/* --- threads' ends --- */

static void *fill_and_end(void *arg)
{
	(void)arg;
	fill(0, MAX, BIG);
	for (unsigned i = 0; i < MAX; i += 2)
		cache_free(blocks[i]);
	cache_detach();
	return NULL;
}

static void *current_cache(void *arg)
{
	void *p = cache_alloc(BYTES);
	struct cache *k = cache_tls.cache;

	(void)arg;
	cache_free(p);
	cache_detach();
	return k;
}

Test(cache, a_dead_threads_slots_serve_others, .init = core_start)
{
	core_in_thread(fill_and_end, NULL);

	page_idx used = core_used_pages();

	for (unsigned i = 0; i < MAX; i += 2) {
		blocks[i] = cache_alloc(BIG);
		memcpy(blocks[i], &i, sizeof i);
	}
	cr_assert_leq(core_used_pages(), used + 2 * PAGES_GROUP);
	drain(0, MAX);
	cr_assert(core_returns_all_pages());
}

Test(cache, a_dead_threads_blocks_are_freed_by_others, .init = core_start)
{
	core_in_thread(fill_and_end, NULL);
	for (unsigned i = 1; i < MAX; i += 2)
		cache_free(blocks[i]);
	cr_assert(core_returns_all_pages());
}

static void *use_a_little(void *arg)
{
	fill(MAX - 10, MAX, BYTES);
	drain(MAX - 10, MAX);
	cache_detach();
	return arg;
}

/* Nothing tidies here: all of it must be found where slots are needed. */
Test(cache, what_is_freed_of_dead_threads_serves_others, .init = core_start)
{
	cache_free(cache_alloc(1));             /* the dead one's cache is not for us */
	core_in_thread(fill_and_end, NULL);

	page_idx used = core_used_pages();

	for (unsigned i = 1; i < MAX; i += 2)
		cache_free(blocks[i]);
	cache_empty_own();
	for (unsigned i = 0; i < 4; i++)
		core_in_thread(use_a_little, NULL);
	fill(0, MAX, BIG);
	cr_assert_leq(core_used_pages(), used + used / 4);
	drain(0, MAX);
	cr_assert(core_returns_all_pages());
}

Test(cache, a_new_thread_takes_over_a_dead_ones_cache, .init = core_start)
{
	void *first = core_in_thread(current_cache, NULL);

	cr_assert_eq(core_in_thread(current_cache, NULL), first);
	fill(0, 1, BYTES);
	cr_assert_eq(cache_tls.cache, first);
	cr_assert_neq(core_in_thread(current_cache, NULL), first);
}

static void *use_after_end(void *arg)
{
	fill(0, 100, BYTES);
	drain(0, 50);
	cache_detach();
	cache_detach();
	cr_assert_null(cache_tls.cache);
	drain(50, 100);
	fill(0, 200, BYTES);
	drain(0, 200);
	cr_assert_null(cache_tls.cache, "no cache for who is gone");
	cache_free(core_malloc(KIB(100)));
	return arg;
}

Test(cache, a_thread_may_allocate_and_free_after_its_end, .init = core_start)
{
	core_in_thread(use_after_end, NULL);
	core_in_thread(use_after_end, NULL);
	cr_assert(core_returns_all_pages());
}

Test(cache, many_threads_one_after_the_other_need_no_more, .init = core_start)
{
	for (int i = 0; i < 100; i++)
		core_in_thread(use_a_little, NULL);

	size_t records = meta_bytes();
	page_idx used = core_used_pages();

	for (int i = 0; i < 100; i++)
		core_in_thread(use_a_little, NULL);
	cr_assert_eq(meta_bytes(), records);
	cr_assert_leq(core_used_pages(), used);
}

Test(cache, after_the_stop_blocks_can_still_be_freed, .init = core_start)
{
	fill(0, 100, BYTES);
	cache_stop();
	cr_assert_null(cache_alloc(BYTES));
	cr_assert_null(cache_alloc_class(3));
	drain(0, 100);
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(granule(blocks[i]), 0);
}

/* --- visits, forks --- */

/* By the visitor, or by this thread if it is its own. */
static bool is_taken(const struct cache *k)
{
	return lock_held(&k->lock.strangers)
	       || atomic_load_explicit(&k->lock.is_used, memory_order_relaxed);
}

static void count_visit(struct cache *k, void *arg)
{
	cr_assert(is_taken(k));
	++*(int *)arg;
}

Test(cache, a_visit_sees_all_caches_but_those_in_use, .init = core_start)
{
	int n = 0;

	core_in_thread(current_cache, NULL);    /* adopted below */
	fill(0, 1, BYTES);
	core_in_thread(current_cache, NULL);
	cache_visit(count_visit, &n);
	cr_assert_eq(n, 2);

	struct spanset *set = cache_lock_spans();

	cache_visit(count_visit, &n);
	cr_assert_eq(n, 3);
	cache_unlock_spans(set);
}

Test(cache, emptying_a_threads_own_magazines_is_for_threads_with_some, .init = core_start)
{
	cache_empty_own();
	fill(0, 100, BYTES);
	drain(0, 100);
	cr_assert_gt(slots_of(BYTES), 0);
	cache_empty_own();
	cr_assert_eq(slots_of(BYTES), 0);
}

static void *keep_until(void *arg)
{
	pthread_barrier_t *both = arg;

	blocks[MAX - 1] = cache_alloc(BYTES);
	pthread_barrier_wait(both);
	pthread_barrier_wait(both);
	cache_free(blocks[MAX - 1]);
	cache_detach();
	return cache_tls.cache;
}

static int after_fork_in_child(struct cache *theirs)
{
	cache_fork_child();
	fill(200, 400, BYTES);
	drain(0, 400);
	cache_free(blocks[MAX - 1]);
	if (core_in_thread(current_cache, NULL) != theirs)
		return 1;
	return core_returns_all_pages() ? 0 : 2;
}

Test(cache, a_fork_child_goes_on_and_uses_the_others_caches, .init = core_start)
{
	pthread_barrier_t both;
	pthread_t thread;
	int status;

	pthread_barrier_init(&both, NULL, 2);
	cr_assert_eq(pthread_create(&thread, NULL, keep_until, &both), 0);
	pthread_barrier_wait(&both);

	fill(0, 200, BYTES);

	struct cache *theirs = cache_tls.cache->next;

	cr_assert_not_null(theirs);
	cache_fork_prepare();

	pid_t pid = fork();

	if (!pid)
		_exit(after_fork_in_child(theirs));
	cache_fork_parent();
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0, "%#x", status);
	pthread_barrier_wait(&both);
	pthread_join(thread, NULL);
	drain(0, 200);
	cr_assert(core_returns_all_pages());
}
