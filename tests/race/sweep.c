/* sweep.c: threads allocate, free, lose and pass on blocks while several others sweep.
 *
 * The collector is a toy: it stops the threads between two of their steps, marks what they hold, and
 * sweeps with a second thread and with whoever comes by in malloc. What is held stays allocated and
 * keeps its contents, which are plain ints: a slot in two hands is a race. What is lost comes back. One
 * thread hides blocks, of a class that nobody else uses, and frees them while they are being swept:
 * it gets them, or the sweep does, and a block it makes in the same place at that moment is one.
 */
#include "core/sweep.h"
#include "core/verify.h"
#include "tests/check.h"
#include "tests/core.h"

#define NMUTATORS 3
#define NHELD 600
#define NSHELVES 64
#define NHIDDEN 3000
#define HIDDEN_BYTES 25                         /* no other class begins below */
#define NJUST_MADE 3
#define NPAGES (1u << 17)                       /* of the heap, at most */
#define NCYCLES 60

static int *held[NMUTATORS + 1][NHIDDEN];
static int *_Atomic shelf[NSHELVES];
static _Atomic unsigned nparked;
static _Atomic bool is_stopping, is_over, is_helper_over;
static uint64_t seed;

static bool is_block(const void *p)
{
	struct block b;

	return block_find(p, &b);
}

static bool is_set(_Atomic bool *flag)
{
	/* acquire: pairs with the release in set(). */
	return atomic_load_explicit(flag, memory_order_acquire);
}

static void set(_Atomic bool *flag, bool value)
{
	atomic_store_explicit(flag, value, memory_order_release);
}

/* Between two steps. */
static void park(void)
{
	if (!is_set(&is_stopping))
		return;
	/* acq_rel, both: the collector reads what is held while we stand here. */
	atomic_fetch_add_explicit(&nparked, 1, memory_order_acq_rel);
	while (is_set(&is_stopping))
		sched_yield();
	atomic_fetch_sub_explicit(&nparked, 1, memory_order_acq_rel);
}

static size_t any_size(uint64_t *random)
{
	static const size_t most[] = { 300, 300, 300, 3000, SIZECLASS_MAX, KIB(100) };
	size_t n = most[next_random(random) % COUNT(most)];

	return HIDDEN_BYTES + 40 + (next_random(random) >> 16) % n;
}

static int *make(size_t nbytes)
{
	int *p = core_malloc(nbytes);

	CHECK(p && is_block(p));
	*p = (int)((uintptr_t)p >> 4);
	return p;
}

static void look(int *p)
{
	CHECK(is_block(p));
	CHECK(*p == (int)((uintptr_t)p >> 4));
}

static void drop(int *p)
{
	look(p);
	*p = 0;
	cache_free(p);
}

static void *mutate(void *arg)
{
	unsigned self = (unsigned)(uintptr_t)arg;
	uint64_t random = seed + self * 977;

	while (!is_set(&is_over)) {
		int **p = &held[self][next_random(&random) % NHELD];

		park();
		if (*p)
			look(*p);
		switch (next_random(&random) >> 20 & 3) {
		case 0:
			if (*p)
				drop(*p);
			/* fallthrough */
		case 1:                                 /* the old one is lost, if there was one */
			*p = NULL;
			*p = make(any_size(&random));
			break;
		case 2:
			/* acq_rel: the contents go with the block. */
			*p = atomic_exchange_explicit(&shelf[next_random(&random) % NSHELVES], *p,
			                              memory_order_acq_rel);
			break;
		}
	}
	cache_detach();
	return NULL;
}

/* In the pieces claimed last? */
static bool is_being_swept(const void *p)
{
	size_t unit = ((uintptr_t)p - heap.base) / SWEEP_UNIT_BYTES;

	return unit < sweep_claimed_bytes() / SWEEP_UNIT_BYTES
	       && unit + 3 > sweep_claimed_bytes() / SWEEP_UNIT_BYTES;
}

/* One block on each page of the hidden ones is held until the end: no span of theirs becomes another's,
 * whose block the hider would free. */
static int *make_hidden(void)
{
	static bool is_kept[NPAGES];
	static unsigned nkept = NJUST_MADE;

	for (;;) {
		int *p = make(HIDDEN_BYTES);
		size_t page = ((uintptr_t)p - heap.base) >> PAGE_SHIFT;

		CHECK(page < NPAGES && nkept < NHIDDEN);
		if (is_kept[page])
			return p;
		is_kept[page] = true;
		held[NMUTATORS][nkept++] = p;
	}
}

/* What the hider frees comes back at once, at the same address. */
static void *hide_and_free(void *arg)
{
	static int *hidden[NHIDDEN];
	uint64_t random = seed + 12345;
	unsigned n = 0;

	(void)arg;
	while (!is_set(&is_over)) {
		park();
		if (!is_set(&marks.is_sweeping)) {
			for (; n < NHIDDEN; n++)
				hidden[n] = make_hidden();
			continue;
		}
		if (!n)
			continue;

		unsigned i = (unsigned)(next_random(&random) >> 16) % n;
		int *p = hidden[i];

		if (!is_being_swept(p))
			continue;
		hidden[i] = hidden[--n];
		if (!is_block(p))
			continue;
		cache_free(p);                          /* it may have been claimed by now */
		for (unsigned j = 0; j < NJUST_MADE; j++)
			held[NMUTATORS][j] = make_hidden();
		for (unsigned j = 0; j < NJUST_MADE; j++) {
			drop(held[NMUTATORS][j]);
			held[NMUTATORS][j] = NULL;
		}
	}
	cache_detach();
	return NULL;
}

static void *help(void *arg)
{
	(void)arg;
	while (!is_set(&is_helper_over)) {
		if (!sweep_some(SWEEP_UNIT_BYTES))
			sched_yield();
	}
	return NULL;
}

static void mark(int *p)
{
	if (p)
		marks_set((uintptr_t)p);
}

static void mark_all(void)
{
	for (unsigned i = 0; i <= NMUTATORS; i++) {
		for (unsigned j = 0; j < NHIDDEN; j++)
			mark(held[i][j]);
	}
	for (unsigned i = 0; i < NSHELVES; i++)
		mark(atomic_load_explicit(&shelf[i], memory_order_relaxed));
}

static void stop(unsigned nthreads)
{
	set(&is_stopping, true);
	while (atomic_load_explicit(&nparked, memory_order_acquire) < nthreads)
		sched_yield();
}

static void resume(void)
{
	set(&is_stopping, false);
	while (atomic_load_explicit(&nparked, memory_order_acquire))
		sched_yield();
}

static uint64_t cycle(unsigned nthreads, uint64_t *random)
{
	marks_clear(atomic_load_explicit(&heap.nbytes, memory_order_acquire));
	set(&marks.is_black, true);
	usleep((useconds_t)(next_random(random) % 2000));
	stop(nthreads);
	mark_all();
	sweep_begin(atomic_load_explicit(&heap.nbytes, memory_order_acquire));
	resume();
	while (sweep_some(SWEEP_UNIT_BYTES))
		;
	while (!sweep_is_done())
		sched_yield();
	set(&marks.is_black, false);
	sweep_finish();
	return sweep_counts().nblocks;
}

int main(void)
{
	pthread_t mutators[NMUTATORS], hider, helper;
	uint64_t nreclaimed = 0, random;

	seed = random = seed_from_env();
	knobs.misuse = KNOB_MISUSE_WARN;                /* of the hider */
	core_start_gc();
	for (uintptr_t i = 0; i < NMUTATORS; i++)
		CHECK(!pthread_create(&mutators[i], NULL, mutate, (void *)i));
	CHECK(!pthread_create(&hider, NULL, hide_and_free, NULL));
	CHECK(!pthread_create(&helper, NULL, help, NULL));
	for (unsigned i = 0; i < NCYCLES; i++) {
		nreclaimed += cycle(NMUTATORS + 1, &random);
		usleep((useconds_t)(next_random(&random) % 3000));
	}
	set(&is_over, true);
	for (unsigned i = 0; i < NMUTATORS; i++)
		pthread_join(mutators[i], NULL);
	pthread_join(hider, NULL);
	CHECK(nreclaimed > 1000);
	memset(held, 0, sizeof held);
	for (unsigned i = 0; i < NSHELVES; i++)
		atomic_store_explicit(&shelf[i], NULL, memory_order_relaxed);
	verify_all();
	cycle(0, &random);                              /* what was black is lost, too, the next time */
	cycle(0, &random);
	set(&is_helper_over, true);
	pthread_join(helper, NULL);
	verify_all();
	CHECK(core_returns_all_pages());
	printf("%llu blocks reclaimed\n", (unsigned long long)nreclaimed);
	return 0;
}
