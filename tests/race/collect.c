/* collect.c: marking for a collection while threads allocate, free and move references, assist, and have
 * their writes noted by page.
 *
 * Each block has one owner: a slot of a thread, of the table that all share, or of another block. Threads
 * move blocks from slot to slot, free some with all that they own, and make new ones. Stops are the
 * threads' own, between two moves: so ThreadSanitizer can watch. In the last stop of each round all that
 * the slots lead to must be marked; without the noted pages some of it is not, which is seen every fourth
 * round.
 */
#include <string.h>

#include "core/marks.h"
#include "scan/mark.h"
#include "tests/check.h"
#include "tests/core.h"
#include "tests/race/pretend.h"

#define NTHREADS 4
#define NSLOTS 64
#define NSHARED 32
#define NCHILDREN 3
#define ROUNDS 24
#define CONTROLS_MAX 500
#define DEPTH 4
#define NPAGES (MIB(256) / OS_PAGE_BYTES)
#define MAGIC UINT64_C(0x6d61726b6d61726b)

struct node {
	uint64_t magic;
	struct node *_Atomic child[NCHILDREN];
};

static struct node *_Atomic slots[NTHREADS][NSLOTS], *_Atomic shared[NSHARED];
static _Atomic bool is_dirty[NPAGES];
static _Atomic bool wants_stop, is_over;
static _Atomic unsigned nstopped;
static _Atomic uint64_t nassisted;

/* After the write, as the kernel would before it lets it be seen: nobody looks between, but while the
 * threads run. */
static void note(const void *p)
{
	uintptr_t at = (uintptr_t)p;

	if (heap_contains(at))
		atomic_store_explicit(&is_dirty[(at - heap.base) / OS_PAGE_BYTES], true,
		                      memory_order_release);
}

static struct node *put(struct node *_Atomic *slot, struct node *b)
{
	struct node *old = atomic_exchange_explicit(slot, b, memory_order_acq_rel);

	note(slot);
	return old;
}

static struct node *make(uint64_t *rng)
{
	static const size_t sizes[] = { 32, 48, 64, 200, 1000, 5000, 20000, 40000, 200000 };
	size_t i = next_random(rng) % 64;
	struct node *b = core_malloc(sizes[i < 9 ? i : i % 4]);

	check(b);
	b->magic = MAGIC;
	for (unsigned k = 0; k < NCHILDREN; k++)
		atomic_store_explicit(&b->child[k], NULL, memory_order_relaxed);
	note(b);
	note(&b->child[NCHILDREN - 1]);
	return b;
}

static struct node *make_tree(uint64_t *rng, unsigned depth)
{
	struct node *b = make(rng);

	for (unsigned k = 0; depth && k < NCHILDREN; k++)
		put(&b->child[k], make_tree(rng, depth - 1));
	return b;
}

static void drop(struct node *b)
{
	if (!b)
		return;
	check(b->magic == MAGIC);
	for (unsigned k = 0; k < NCHILDREN; k++)
		drop(put(&b->child[k], NULL));
	b->magic = 0;
	cache_free(b);
}

/* A child's child gets its parent's place, so that trees stay small; or a slot's block goes under another. */
static void move(struct node *_Atomic *own, uint64_t *rng)
{
	struct node *_Atomic *from = &own[next_random(rng) % NSLOTS];
	struct node *b = put(from, NULL), *to;
	unsigned k = (unsigned)(next_random(rng) % NCHILDREN);

	switch (next_random(rng) % 8) {
	case 0:
		drop(b);
		b = NULL;
		break;
	case 1: case 2:
		b = put(&shared[next_random(rng) % NSHARED], b);
		break;
	case 3: case 4:
		to = atomic_load_explicit(&own[next_random(rng) % NSLOTS], memory_order_relaxed);
		if (to)
			b = put(&to->child[k], b);
		break;
	case 5:
		if (b) {
			to = put(&b->child[k], NULL);
			if (to)
				b = put(&own[next_random(rng) % NSLOTS], b);
			drop(b);
			b = to;
		}
		break;
	default:
		if (!b)
			b = make_tree(rng, next_random(rng) % 4);
	}
	drop(put(from, b));
}

static void stop_here(void)
{
	if (!atomic_load_explicit(&wants_stop, memory_order_acquire))
		return;
	atomic_fetch_add_explicit(&nstopped, 1, memory_order_acq_rel);
	while (atomic_load_explicit(&wants_stop, memory_order_acquire))
		sched_yield();
	atomic_fetch_sub_explicit(&nstopped, 1, memory_order_acq_rel);
}

static void *work(void *arg)
{
	struct node *_Atomic *own = arg;
	uint64_t rng = (uintptr_t)arg * 2654435761u | 1;

	for (unsigned i = 0; i < NSLOTS; i++)
		put(&own[i], make_tree(&rng, DEPTH));
	for (unsigned i = 0; !atomic_load_explicit(&is_over, memory_order_relaxed); i++) {
		move(own, &rng);
		if (i % 64 == 0)
			count_add(&nassisted, mark_assist(KIB(4)));
		stop_here();
	}
	for (unsigned i = 0; i < NSLOTS; i++)
		drop(put(&own[i], NULL));
	cache_detach();
	return NULL;
}

/* --- the collector --- */

static void stop(void)
{
	while (atomic_load_explicit(&nstopped, memory_order_acquire))
		sched_yield();                  /* of the last time */
	atomic_store_explicit(&wants_stop, true, memory_order_release);
	while (atomic_load_explicit(&nstopped, memory_order_acquire) < NTHREADS)
		sched_yield();
}

static void resume(void)
{
	atomic_store_explicit(&wants_stop, false, memory_order_release);
}

static void set_black(bool is_black)
{
	atomic_store_explicit(&marks.is_black, is_black, memory_order_relaxed);
}

static void mark_roots(void)
{
	mark_range((uintptr_t)slots, (uintptr_t)slots + sizeof slots);
	mark_range((uintptr_t)shared, (uintptr_t)shared + sizeof shared);
}

static void read_dirty(bool is_ignored)
{
	mark_extend();
	for (size_t i = 0; i < heap.nbytes / OS_PAGE_BYTES; i++) {
		uintptr_t page = heap.base + i * OS_PAGE_BYTES;

		if (atomic_exchange_explicit(&is_dirty[i], false, memory_order_acq_rel) && !is_ignored)
			mark_dirty(page, page + OS_PAGE_BYTES);
	}
}

/* Of what is owned: how many are not marked. */
static unsigned count_lost(struct node *_Atomic *slot, size_t n)
{
	unsigned nlost = 0;

	for (size_t i = 0; i < n; i++) {
		struct node *b = atomic_load_explicit(&slot[i], memory_order_relaxed);

		if (!b)
			continue;
		check(b->magic == MAGIC);
		nlost += !marks_is_set((uintptr_t)b) + count_lost(b->child, NCHILDREN);
	}
	return nlost;
}

/* New blocks are not marked if the pages are ignored: else they would hide what is lost. */
static unsigned collect(bool is_full, bool ignores_dirty)
{
	unsigned nlost;

	if (is_full)
		read_dirty(true);
	check(is_full ? mark_start_full() : mark_start_sticky());
	set_black(!ignores_dirty);
	stop();
	mark_extend();
	resume();
	mark_roots();
	mark_drain();
	for (unsigned i = 0; i < 2; i++) {
		read_dirty(ignores_dirty);
		mark_drain();
	}
	mark_call_helpers(3);
	stop();
	mark_stopped();
	mark_roots();
	read_dirty(ignores_dirty);
	mark_drain();
	nlost = count_lost(&slots[0][0], (size_t)NTHREADS * NSLOTS) + count_lost(shared, NSHARED);
	set_black(false);
	resume();
	mark_end();
	return nlost;
}

int main(void)
{
	pthread_t mutator[NTHREADS];
	unsigned nlost = 0;

	core_start_gc();
	workers_pretend(start, wait);
	for (unsigned i = 0; i < NTHREADS; i++)
		check(pthread_create(&mutator[i], NULL, work, slots[i]) == 0);
	for (unsigned round = 0; round < ROUNDS || (!nlost && round < CONTROLS_MAX); round++) {
		bool is_control = round % 4 == 3;
		unsigned n;

		mark_set_workers(1 + round % 3);
		mark_limit_work(round % 5 ? SIZE_MAX : KIB(64));
		n = collect(round % 4 == 0 || is_control, is_control);
		check(is_control || !n);
		nlost += n;
		check(heap.nbytes <= MIB(256));
	}
	atomic_store_explicit(&is_over, true, memory_order_relaxed);
	for (unsigned i = 0; i < NTHREADS; i++)
		check(pthread_join(mutator[i], NULL) == 0);
	for (unsigned i = 0; i < NSHARED; i++)
		drop(put(&shared[i], NULL));
	printf("%u lost without the dirty pages, %llu bytes assisted\n", nlost,
	       (unsigned long long)nassisted);
	check(nlost);
	return 0;
}
