/* cache_threads.c: threads' ends, who gets what they leave; visits of all caches; fork. */
#include <criterion/criterion.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/cache.h"

/* --- ends --- */

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

Test(cache_threads, a_dead_threads_slots_serve_others, .init = core_start)
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

Test(cache_threads, a_dead_threads_blocks_are_freed_by_others, .init = core_start)
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
Test(cache_threads, what_is_freed_of_dead_threads_serves_others, .init = core_start)
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

Test(cache_threads, a_new_thread_takes_over_a_dead_ones_cache, .init = core_start)
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

Test(cache_threads, a_thread_may_allocate_and_free_after_its_end, .init = core_start)
{
	core_in_thread(use_after_end, NULL);
	core_in_thread(use_after_end, NULL);
	cr_assert(core_returns_all_pages());
}

Test(cache_threads, many_threads_one_after_the_other_need_no_more, .init = core_start)
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

Test(cache_threads, a_visit_sees_all_caches_but_those_in_use, .init = core_start)
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

Test(cache_threads, a_fork_child_goes_on_and_uses_the_others_caches, .init = core_start)
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
