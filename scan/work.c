/* work.c: see work.h.
 *
 * Reached from mark.c. Depends on os.h, and on regs.h for system calls that touch no thread-local:
 * workers have none of their own.
 *
 * A list's head holds a count besides the first buffer, so that an exchange fails if the list was
 * changed and changed back meanwhile. Buffers are never unmapped: a stale `next` may be read.
 *
 * The end: a worker gives up only after a look at the list that came after its last push. Who waits
 * leaves the count of the idle before he takes a buffer. So when all are idle nothing is left, and
 * nothing can come.
 */
#include "scan/work.h"

#include "core/os.h"
#include "scan/regs.h"

#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>

#define LEAST_BYTES KIB(64)
#define SPINS 200                               /* 10 us, a fifth of what a wake-up takes */
#define LEAST_SHARED 4                          /* items */

_Static_assert(sizeof(struct work_buffer) == WORK_BUFFER_BYTES, "");

/* More memory than before, the more the better. Addresses that were mapped before are lost, without
 * memory behind: less than what is used. */
static void map(struct work_pool *p, size_t wanted)
{
	for (; wanted > p->nbytes_mapped; wanted = align_up(wanted / 2, LEAST_BYTES)) {
		struct work_buffer *b = os_map(wanted);

		if (b) {
			os_name((uintptr_t)b, wanted, "spangc work");
			p->buffer = b;
			p->nbytes_mapped = wanted;
		} else if (wanted == LEAST_BYTES) {
			return;
		}
	}
}

bool work_start(struct work_pool *p, size_t most)
{
	size_t nbytes = most > LEAST_BYTES ? align_up(most, LEAST_BYTES) : LEAST_BYTES;

	if (nbytes > p->nbytes_mapped)
		map(p, nbytes < 2 * p->nbytes_mapped ? 2 * p->nbytes_mapped : nbytes);
	if (nbytes > p->nbytes_mapped)
		nbytes = p->nbytes_mapped;
	p->nbuffers = (uint32_t)(nbytes / WORK_BUFFER_BYTES);
	/* relaxed, all: there is one worker. */
	atomic_store_explicit(&p->full, 0, memory_order_relaxed);
	atomic_store_explicit(&p->empty, 0, memory_order_relaxed);
	atomic_store_explicit(&p->nused, 0, memory_order_relaxed);
	work_begin(p);
	return nbytes;
}

void work_end(struct work_pool *p)
{
	if (p->buffer)
		os_discard((uintptr_t)p->buffer, p->nbytes_mapped);
}

void work_begin(struct work_pool *p)
{
	/* relaxed, all: there is one worker. */
	atomic_store_explicit(&p->nworkers, 1, memory_order_relaxed);
	atomic_store_explicit(&p->nidle, 0, memory_order_relaxed);
	atomic_store_explicit(&p->is_over, false, memory_order_relaxed);
}

void work_expect(struct work_pool *p)
{
	/* relaxed: the caller is not idle, so the count can't be reached before it is. */
	atomic_fetch_add_explicit(&p->nworkers, 1, memory_order_relaxed);
}

void work_unexpect(struct work_pool *p)
{
	/* relaxed: as above. */
	atomic_fetch_sub_explicit(&p->nworkers, 1, memory_order_relaxed);
}

/* --- lists --- */

static void put(struct work_pool *p, _Atomic uint64_t *list, struct work_buffer *b)
{
	uint64_t number = (uint64_t)(b - p->buffer) + 1;
	/* relaxed: only compared. */
	uint64_t head = atomic_load_explicit(list, memory_order_relaxed), wanted;

	do {
		/* relaxed: published by the exchange. */
		atomic_store_explicit(&b->next, (uint32_t)head, memory_order_relaxed);
		wanted = (head >> 32) + 1;
		wanted = wanted << 32 | number;
		/* seq_cst: `full` against `nidle` in work_wait(). release of the items: pairs with the
		 * acquire in get(). */
	} while (!atomic_compare_exchange_weak_explicit(list, &head, wanted, memory_order_seq_cst,
	                                                memory_order_relaxed));
}

static struct work_buffer *get(struct work_pool *p, _Atomic uint64_t *list)
{
	/* acquire: pairs with the release in put(), for `next`. */
	uint64_t head = atomic_load_explicit(list, memory_order_acquire), wanted;
	struct work_buffer *b;

	do {
		if (!(uint32_t)head)
			return NULL;
		b = &p->buffer[(uint32_t)head - 1];
		wanted = (head >> 32) + 1;
		/* relaxed: if it is stale, the exchange fails. */
		wanted = wanted << 32 | atomic_load_explicit(&b->next, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak_explicit(list, &head, wanted, memory_order_acquire,
	                                                memory_order_acquire));
	return b;
}

static bool is_empty(_Atomic uint64_t *list)
{
	/* seq_cst: `full` against `nidle`, see work_wait(). */
	return !(uint32_t)atomic_load_explicit(list, memory_order_seq_cst);
}

static struct work_buffer *get_empty(struct work_pool *p)
{
	struct work_buffer *b = get(p, &p->empty);

	/* relaxed: its own count; a look first, so that it never runs over. */
	if (!b && atomic_load_explicit(&p->nused, memory_order_relaxed) < p->nbuffers) {
		uint32_t i = atomic_fetch_add_explicit(&p->nused, 1, memory_order_relaxed);

		b = i < p->nbuffers ? &p->buffer[i] : NULL;
	}
	if (b)
		b->n = 0;
	return b;
}

/* --- one worker --- */

bool work_join(struct work *w, struct work_pool *p)
{
	w->pool = p;
	w->top = get_empty(p);
	w->other = w->top ? get_empty(p) : NULL;
	if (!w->other)
		work_leave(w);
	return w->other;
}

void work_leave(struct work *w)
{
	if (w->top)
		put(w->pool, &w->pool->empty, w->top);
	if (w->other)
		put(w->pool, &w->pool->empty, w->other);
	w->top = w->other = NULL;
}

static void swap(struct work *w)
{
	struct work_buffer *b = w->top;

	w->top = w->other;
	w->other = b;
}

/* Those that spin see it; one that sleeps is woken. */
static void give(struct work_pool *p, struct work_buffer *b)
{
	put(p, &p->full, b);
	/* seq_cst: `full` and `nidle`. Either the idle one sees the buffer, or we see it. */
	if (!atomic_load_explicit(&p->nidle, memory_order_seq_cst))
		return;
	/* release: who sees the news sees the list. Pairs with the acquire in work_wait(). */
	atomic_fetch_add_explicit(&p->news, 1, memory_order_release);
	regs_syscall(SYS_futex, (long)&p->news, FUTEX_WAKE_PRIVATE, 1, 0);
}

bool work_make_room(struct work *w)
{
	struct work_buffer *b;

	swap(w);
	if (w->top->n < WORK_ITEMS)
		return true;
	b = get_empty(w->pool);
	if (!b)
		return false;
	give(w->pool, w->top);
	w->top = b;
	return true;
}

bool work_take(struct work *w)
{
	struct work_buffer *b;

	swap(w);
	if (w->top->n)
		return true;
	b = get(w->pool, &w->pool->full);
	if (!b)
		return false;
	put(w->pool, &w->pool->empty, w->top);
	w->top = b;
	return true;
}

/* The older half: it is what leads to most. */
static struct work_buffer *split(struct work *w)
{
	struct work_buffer *b = get_empty(w->pool);
	uint32_t n = w->top->n / 2;

	if (!b)
		return NULL;
	memcpy(b->item, w->top->item, n * sizeof *b->item);
	b->n = n;
	w->top->n -= n;
	memmove(w->top->item, w->top->item + n, w->top->n * sizeof *b->item);
	return b;
}

void work_hand_over(struct work *w)
{
	struct work_pool *p = w->pool;
	struct work_buffer *b;

	if (!is_empty(&p->full))
		return;                         /* there is something already */
	if (w->other->n) {
		b = get_empty(p);
		if (!b)
			return;
		give(p, w->other);
		w->other = b;
	} else if (w->top->n >= LEAST_SHARED) {
		b = split(w);
		if (b)
			give(p, b);
	}
}

static void wake_all(struct work_pool *p)
{
	/* release: with it `is_over`. Pairs with the acquire in work_wait(). */
	atomic_fetch_add_explicit(&p->news, 1, memory_order_release);
	regs_syscall(SYS_futex, (long)&p->news, FUTEX_WAKE_PRIVATE, INT_MAX, 0);
}

/* True: this was the last one to be idle. */
static bool become_idle(struct work_pool *p)
{
	/* seq_cst: `nidle` and `full`, see give(). */
	uint32_t n = atomic_fetch_add_explicit(&p->nidle, 1, memory_order_seq_cst) + 1;

	/* relaxed: it grows only while somebody has work, who is not idle. */
	return n == atomic_load_explicit(&p->nworkers, memory_order_relaxed);
}

/* Something was there: out of the count, then take it. */
static bool stop_idling(struct work *w)
{
	/* seq_cst: as in become_idle(). */
	atomic_fetch_sub_explicit(&w->pool->nidle, 1, memory_order_seq_cst);
	return work_take(w);
}

bool work_wait(struct work *w)
{
	struct work_pool *p = w->pool;
	bool is_last = become_idle(p);

	for (unsigned spins = 0;; spins++) {
		/* acquire: pairs with the release in give() and wake_all(). */
		uint32_t news = atomic_load_explicit(&p->news, memory_order_acquire);

		if (is_last) {
			/* relaxed: ordered by `news`. */
			atomic_store_explicit(&p->is_over, true, memory_order_relaxed);
			wake_all(p);
		}
		/* relaxed: as above. */
		if (is_last || atomic_load_explicit(&p->is_over, memory_order_relaxed))
			return false;
		if (!is_empty(&p->full)) {
			if (stop_idling(w))
				return true;
			is_last = become_idle(p);
		} else if (spins < SPINS) {
			cpu_relax();
		} else {
			regs_syscall(SYS_futex, (long)&p->news, FUTEX_WAIT_PRIVATE, news, 0);
		}
	}
}
