/* lock.c: threads hammer counters that only locks protect.
 *
 * The counters are plain: ThreadSanitizer sees a lock that orders nothing, and a lost update
 * shows without it. Some threads take the lock, some try and give up, some hold it for longer so
 * that others sleep. Several locks of rising rank are held together now and then.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "core/lock.h"

#define NTHREADS 4
#define ROUNDS 40000

static struct lock outer = LOCK_INIT(LOCK_CENTRAL), inner = LOCK_INIT(LOCK_PAGES);
static unsigned long outer_count, inner_count;

struct done {
	unsigned long outer, inner;
};

static void add_inner(struct done *done)
{
	lock_take(&inner);
	inner_count++;
	lock_drop(&inner);
	done->inner++;
}

static void add_outer(struct done *done, bool is_long)
{
	unsigned long before = ++outer_count;

	if (is_long)
		sched_yield();
	if (outer_count != before)
		printf("somebody else was in: %lu became %lu\n", before, outer_count);
	add_inner(done);
	lock_drop(&outer);
	done->outer++;
}

static void *hammer(void *arg)
{
	struct done *done = arg;

	for (int i = 0; i < ROUNDS; i++) {
		if (i % 4 == 3) {
			add_inner(done);
		} else if (i % 4 == 2) {
			if (lock_try(&outer))
				add_outer(done, false);
		} else {
			lock_take(&outer);
			add_outer(done, i % 64 == 0);
		}
	}
	return NULL;
}

int main(void)
{
	static struct done done[NTHREADS];
	pthread_t threads[NTHREADS];
	struct done sum = { 0, 0 };

	for (int i = 0; i < NTHREADS; i++)
		if (pthread_create(&threads[i], NULL, hammer, &done[i]))
			return 1;
	for (int i = 0; i < NTHREADS; i++) {
		pthread_join(threads[i], NULL);
		sum.outer += done[i].outer;
		sum.inner += done[i].inner;
	}
	printf("%lu of %lu, %lu of %lu, waits %u %u\n", outer_count, sum.outer, inner_count,
	       sum.inner, lock_nwaits(&outer), lock_nwaits(&inner));
	return outer_count != sum.outer || inner_count != sum.inner;
}
