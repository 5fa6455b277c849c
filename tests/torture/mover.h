/* mover.h: threads that move the only references to their objects from place to place.
 *
 * Places are on a thread's stack, in its thread-local data, in a block, in a mapping, in static data,
 * and in the objects themselves; between two places a reference is in registers, for a time. Threads
 * hand references to each other through a table.
 */
#ifndef TESTS_TORTURE_MOVER_H
#define TESTS_TORTURE_MOVER_H

#include "tests/torture/objects.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#define MOVER_PLACES 64                         /* of each kind */
#define MOVER_DEPTH 12
#define MOVER_SHARED 64
#define MOVER_THREADS 8

enum { ON_STACK, IN_TLS, IN_BLOCK, IN_MAPPING, IN_STATIC, NKINDS };

struct mover {
	uint64_t rng;
	uint64_t serial;                        /* of the next object; those of two movers differ */
	size_t nlive, max_live;
	size_t nlooks;
	struct ref *place[NKINDS];
	void (*drop)(struct ref r);             /* called sometimes instead of freeing */
};

static struct {
	pthread_mutex_t lock;
	struct ref ref[MOVER_SHARED];
} mover_shared = { .lock = PTHREAD_MUTEX_INITIALIZER };

static __thread struct ref mover_tls[MOVER_PLACES];
static struct ref mover_static[MOVER_THREADS][MOVER_PLACES];

/* Somewhere in the thread's forest: a root place, or one in an object that it leads to. */
static inline struct ref *mover_place(struct mover *m)
{
	struct ref *r = &m->place[next_random(&m->rng) % NKINDS][next_random(&m->rng) % MOVER_PLACES];

	for (unsigned depth = 0; depth < MOVER_DEPTH && r->word; depth++) {
		uint64_t x = next_random(&m->rng);
		size_t nrefs = object_nrefs(r->serial);

		if (nrefs == 0 || x % 4 == 0)
			break;
		m->nlooks++;
		r = &object_look(*r)->ref[(x >> 8) % nrefs];
	}
	return r;
}

/* For a while the reference is nowhere but here. */
static inline struct ref mover_hold(struct mover *m, struct ref *from)
{
	struct ref r = *from;
	uint64_t n = next_random(&m->rng) % 200;

	*(volatile uintptr_t *)&from->word = 0;
	for (uint64_t i = 0; i < n; i++)
		__asm__ volatile("" : "+r"(r.word) : : "memory");
	if (n == 0)
		sched_yield();
	return r;
}

static inline void mover_lose(struct mover *m, struct ref r)
{
	bool is_freed = !m->drop || next_random(&m->rng) % 2;
	size_t n = object_walk(r, is_freed);

	m->nlooks += n;
	m->nlive -= n < m->nlive ? n : m->nlive;
	if (!is_freed)
		m->drop(r);
}

static inline void mover_put(struct mover *m, struct ref *to, struct ref r)
{
	struct ref old = *to;

	*to = r;
	if (old.word)
		mover_lose(m, old);
}

static inline void mover_make(struct mover *m)
{
	struct ref r = object_make(m->serial++);

	m->nlive++;
	mover_put(m, mover_place(m), r);
}

static inline void mover_move(struct mover *m)
{
	struct ref *from = mover_place(m);
	struct ref r = mover_hold(m, from), old;
	struct ref *to;

	if (!r.word)
		return;
	to = mover_place(m);                    /* the tree at r is not in any forest now */
	old = mover_hold(m, to);
	*to = r;
	if (!old.word)
		return;
	from = mover_place(m);
	r = mover_hold(m, from);
	*from = old;
	if (r.word)
		mover_lose(m, r);
}

static inline void mover_exchange(struct mover *m)
{
	struct ref *shared = &mover_shared.ref[next_random(&m->rng) % MOVER_SHARED];
	struct ref *own = mover_place(m);
	struct ref r = mover_hold(m, own);

	pthread_mutex_lock(&mover_shared.lock);

	struct ref theirs = *shared;

	*shared = r;
	pthread_mutex_unlock(&mover_shared.lock);
	mover_put(m, mover_place(m), theirs);
}

static inline void mover_step(struct mover *m)
{
	uint64_t x = next_random(&m->rng) % 100;

	if (x < 40)
		mover_move(m);
	else if (x < 55)
		mover_exchange(m);
	else if (x < 95 && m->nlive < m->max_live)
		mover_make(m);
	else
		mover_lose(m, mover_hold(m, mover_place(m)));
}

/* Everything that is left: looked at, and freed. */
static inline void mover_end(struct mover *m)
{
	for (unsigned kind = 0; kind < NKINDS; kind++) {
		for (unsigned i = 0; i < MOVER_PLACES; i++) {
			m->nlooks += object_walk(m->place[kind][i], true);
			m->place[kind][i].word = 0;
		}
	}
}

/* Steps for as long as goes_on() is true. The block with places is a block like others. */
static inline size_t mover_run(unsigned number, uint64_t seed, size_t max_live,
                               void (*drop)(struct ref r), bool (*goes_on)(void), void *block)
{
	struct ref stack[MOVER_PLACES] = { { 0, 0 } };
	struct mover m = { .rng = seed + number * 2, .serial = (uint64_t)number << 32,
		.max_live = max_live, .drop = drop };
	size_t nbytes = MOVER_PLACES * sizeof(struct ref);

	m.place[ON_STACK] = stack;
	m.place[IN_TLS] = mover_tls;
	m.place[IN_BLOCK] = memset(block, 0, nbytes);
	m.place[IN_MAPPING] = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	m.place[IN_STATIC] = mover_static[number];
	CHECK(m.place[IN_MAPPING] != MAP_FAILED);
	while (goes_on()) {
		for (unsigned i = 0; i < 100; i++)
			mover_step(&m);
	}
	mover_end(&m);
	CHECK(munmap(m.place[IN_MAPPING], nbytes) == 0);
	return m.nlooks;
}

#endif
