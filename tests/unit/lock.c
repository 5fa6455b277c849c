/* lock.c: who holds a lock, who waits, what a fork child finds, and in which order to take them.
 * The order is checked in debug builds only, and so are its tests. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/lock.h"

/* A hang must end: a lock that is never free again, a sleeper nobody wakes. */
TestSuite(lock, .timeout = 100);

static struct lock pages = LOCK_INIT(LOCK_PAGES);

static void *in_thread(void *(*run)(void *), void *arg)
{
	pthread_t thread;
	void *result;

	cr_assert_eq(pthread_create(&thread, NULL, run, arg), 0);
	cr_assert_eq(pthread_join(thread, &result), 0);
	return result;
}

static void *is_held_here(void *l)
{
	return lock_held(l) ? l : NULL;
}

static void *try_and_drop(void *l)
{
	if (!lock_try(l))
		return NULL;
	lock_drop(l);
	return l;
}

Test(lock, is_held_by_its_taker_only)
{
	cr_assert_not(lock_held(&pages));
	lock_take(&pages);
	cr_assert(lock_held(&pages));
	cr_assert_null(in_thread(is_held_here, &pages));
	lock_drop(&pages);
	cr_assert_not(lock_held(&pages));
}

Test(lock, a_lock_that_is_held_is_refused)
{
	lock_take(&pages);
	cr_assert_null(in_thread(try_and_drop, &pages));
	lock_drop(&pages);
	cr_assert_eq(in_thread(try_and_drop, &pages), &pages);
	cr_assert(lock_try(&pages));
	cr_assert(lock_held(&pages));
	cr_assert_eq(lock_nwaits(&pages), 0);
}

static void *take_and_drop(void *l)
{
	errno = ERANGE;
	lock_take(l);
	lock_drop(l);
	return errno == ERANGE ? l : NULL;
}

Test(lock, everybody_who_sleeps_is_woken)
{
	pthread_t threads[5];
	void *result;

	lock_take(&pages);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, take_and_drop, &pages), 0);
	while (lock_nwaits(&pages) < 5
	       || atomic_load_explicit(&pages.state, memory_order_relaxed) != LOCK_AWAITED)
		sched_yield();
	lock_drop(&pages);
	for (int i = 0; i < 5; i++) {
		cr_assert_eq(pthread_join(threads[i], &result), 0);
		cr_assert_eq(result, &pages, "errno was not kept");
	}
	cr_assert(lock_try(&pages));
}

static void *take_and_die(void *l)
{
	lock_take(l);
	return NULL;
}

/* The lock as a fork child finds it: held by a thread that does not exist there. */
Test(lock, is_free_after_a_reset_whoever_held_it)
{
	struct lock own = LOCK_INIT(LOCK_META);
	int status;
	pid_t child;

	in_thread(take_and_die, &pages);
	lock_take(&own);
	child = fork();
	if (child == 0) {
		alarm(100);                            /* a hang must end */
		lock_reset_after_fork(&pages);
		lock_reset_after_fork(&own);
		if (lock_held(&pages) || lock_held(&own))
			_exit(1);
		lock_take(&pages);
		lock_take(&own);
		lock_drop(&own);
		lock_drop(&pages);
		_exit(0);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	lock_drop(&own);
}

Test(lock, init_is_the_same_as_the_initializer)
{
	struct lock a, b = LOCK_INIT(LOCK_HEAP);

	memset(&a, 0xff, sizeof a);
	lock_init(&a, LOCK_HEAP);
	cr_assert_eq(a.rank, b.rank);
	cr_assert_not(lock_held(&a));
	cr_assert_eq(lock_nwaits(&a), 0);
	cr_assert(lock_try(&a));
}

Test(lock, rising_ranks_are_in_order)
{
	struct lock heaps = LOCK_INIT(LOCK_HEAPS);
	struct lock heap[3] = { LOCK_INIT(LOCK_HEAP), LOCK_INIT(LOCK_HEAP), LOCK_INIT(LOCK_HEAP) };

	lock_take(&heaps);
	for (int i = 0; i < 3; i++)
		lock_take_for_fork(&heap[i]);
	lock_take(&pages);
	for (int i = 0; i < 3; i++)
		lock_drop(&heap[i]);
	lock_drop(&pages);
	lock_drop(&heaps);
	lock_take(&heap[0]);
}

#ifdef SPANGC_DEBUG
static struct lock heaps = LOCK_INIT(LOCK_HEAPS), heap = LOCK_INIT(LOCK_HEAP);
static struct lock other_heap = LOCK_INIT(LOCK_HEAP), no_rank;

Test(lock, a_falling_rank_dies, .signal = SIGABRT)
{
	lock_take(&pages);
	lock_take(&heap);
}

Test(lock, an_equal_rank_dies, .signal = SIGABRT)
{
	lock_take(&heap);
	lock_take(&other_heap);
}

Test(lock, a_falling_rank_dies_before_fork_too, .signal = SIGABRT)
{
	lock_take(&heap);
	lock_take_for_fork(&heaps);
}

Test(lock, taking_it_twice_dies, .signal = SIGABRT)
{
	lock_take(&pages);
	lock_take(&pages);
}

Test(lock, a_rank_got_by_trying_counts, .signal = SIGABRT)
{
	cr_assert(lock_try(&pages));
	lock_take(&heap);
}

Test(lock, a_lock_without_a_rank_dies, .signal = SIGABRT)
{
	lock_take(&no_rank);
}

Test(lock, dropping_what_is_not_held_dies, .signal = SIGABRT)
{
	lock_drop(&pages);
}
#endif
