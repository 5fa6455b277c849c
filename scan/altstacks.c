/* altstacks.c: see altstacks.h.
 *
 * Reached from dirty_mprotect.c and the handlers of dispatch.c. Depends on world.h, to know who is gone.
 * Stacks are never unmapped. Below each lies a page that can't be written.
 */
#include "scan/altstacks.h"

#include "core/os.h"
#include "scan/roots.h"
#include "scan/world.h"

#define NO_TSAN __attribute__((no_sanitize("thread")))

#define STACK_BYTES KIB(64)
#define NSTACKS 64                              /* of a chunk */
#define ENOUGH_BYTES KIB(32)                    /* Go's */

struct chunk {
	struct chunk *_Atomic next;
	uintptr_t base;
	bool is_excluded;
	_Atomic int tid[NSTACKS];               /* 0: free */
	stack_t programs[NSTACKS];              /* the thread's; what it has set */
};

static struct chunk *_Atomic chunks;

static struct chunk *first_chunk(void)
{
	/* acquire: pairs with the release in add_chunk(). */
	return atomic_load_explicit(&chunks, memory_order_acquire);
}

static bool add_chunk(void)
{
	size_t header = align_up(sizeof(struct chunk), OS_PAGE_BYTES);
	char *p = os_map(header + NSTACKS * STACK_BYTES);
	struct chunk *c = (struct chunk *)p;

	if (!p)
		return false;
	c->base = (uintptr_t)p + header;
	for (unsigned i = 0; i < NSTACKS; i++)
		os_protect(c->base + i * STACK_BYTES, OS_PAGE_BYTES, false);
	os_name((uintptr_t)p, header + NSTACKS * STACK_BYTES, "spangc signal stacks");
	/* relaxed: in a stop, the only writer. */
	atomic_store_explicit(&c->next, first_chunk(), memory_order_relaxed);
	/* release: pairs with the acquire in first_chunk(). */
	atomic_store_explicit(&chunks, c, memory_order_release);
	return true;
}

static bool is_there(int tid)
{
	const struct task *t = world_find_task(tid);

	return tid == world.self || (t && !t->is_gone);
}

void altstacks_prepare(unsigned n)
{
	unsigned nfree = 0;

	for (struct chunk *c = first_chunk(); c; c = atomic_load_explicit(&c->next, memory_order_relaxed)) {
		for (unsigned i = 0; i < NSTACKS; i++) {
			/* relaxed, both: the world is stopped. */
			int tid = atomic_load_explicit(&c->tid[i], memory_order_relaxed);

			if (tid && !is_there(tid))
				atomic_store_explicit(&c->tid[i], 0, memory_order_relaxed);
			nfree += !tid || !is_there(tid);
		}
	}
	for (; nfree < n && add_chunk(); nfree += NSTACKS)
		;
}

void altstacks_exclude(void)
{
	for (struct chunk *c = first_chunk(); c; c = atomic_load_explicit(&c->next, memory_order_relaxed)) {
		if (!c->is_excluded)
			roots_exclude((uintptr_t)c, c->base + NSTACKS * STACK_BYTES);
		c->is_excluded = true;
	}
}

struct place {
	uintptr_t base;                         /* 0: none */
	stack_t *programs;
};

NO_TSAN static struct place claim(struct chunk *c, int tid, int wanted)
{
	for (unsigned i = 0; i < NSTACKS; i++) {
		int expected = wanted;

		/* relaxed, all: a stack is nothing that is read. */
		if (atomic_load_explicit(&c->tid[i], memory_order_relaxed) == wanted
		    && atomic_compare_exchange_strong_explicit(&c->tid[i], &expected, tid,
		                                               memory_order_relaxed,
		                                               memory_order_relaxed))
			return (struct place){ c->base + i * STACK_BYTES, &c->programs[i] };
	}
	return (struct place){ 0 };
}

NO_TSAN static struct place find(int tid, int wanted)
{
	struct place place = { 0 };

	for (struct chunk *c = first_chunk(); c && !place.base;
	     c = atomic_load_explicit(&c->next, memory_order_relaxed))
		place = claim(c, tid, wanted);
	return place;
}

NO_TSAN bool altstacks_give(int tid, stack_t *s)
{
	if (!(s->ss_flags & SS_DISABLE) && s->ss_size >= ENOUGH_BYTES)
		return false;

	struct place place = find(tid, tid);

	if (!place.base)
		place = find(tid, 0);
	if (!place.base)
		return false;
	*place.programs = *s;
	s->ss_sp = (void *)(place.base + OS_PAGE_BYTES);
	s->ss_size = STACK_BYTES - OS_PAGE_BYTES;
	s->ss_flags = 0;
	return true;
}

NO_TSAN void altstacks_fork_child(int tid, const stack_t *s)
{
	for (struct chunk *c = first_chunk(); c; c = atomic_load_explicit(&c->next, memory_order_relaxed)) {
		for (unsigned i = 0; i < NSTACKS; i++) {
			uintptr_t base = c->base + i * STACK_BYTES;
			bool is_own = (uintptr_t)s->ss_sp - base < STACK_BYTES;

			/* relaxed: there is one thread. */
			atomic_store_explicit(&c->tid[i], is_own ? tid : 0, memory_order_relaxed);
		}
	}
}

NO_TSAN bool altstacks_hide(int tid, stack_t *s)
{
	struct place place = find(tid, tid);

	if (!place.base || (s->ss_flags & SS_DISABLE)
	    || (uintptr_t)s->ss_sp != place.base + OS_PAGE_BYTES)
		return false;
	*s = *place.programs;
	return true;
}
