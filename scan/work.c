/* work.c: see work.h.
 *
 * Reached from mark.c. Depends on os.h, and on regs.h for system calls that touch no thread-local:
 * workers have none of their own.
 *
 * A list's head holds a count besides the first buffer, so that an exchange fails if the list was
 * changed and changed back meanwhile. Buffers are never unmapped: a stale `next` may be read.
 *
 * The end, which the first worker sees: it finds the list empty, then all of the crew idle, and no
 * news meanwhile. Who puts a buffer on the list while somebody is idle makes news before it becomes
 * idle or goes, and who waits leaves the count of the idle before he takes one. So nothing is left, and
 * nothing can come, but from one who takes it from the list, which is empty.
 */
#include "scan/work.h"

#include "core/os.h"
#include "scan/own.h"
#include "scan/regs.h"

#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>

#define LEAST_BYTES KIB(64)
#define ONE_WORKER (UINT64_C(1) << 32)
#define LEAST_SHARED 4                          /* items */

_Static_assert(sizeof(struct work_buffer) == WORK_BUFFER_BYTES, "");

/* More memory than before, the more the better. Addresses that were mapped before are lost, without
 * memory behind: less than what is used. */
static void map(struct work_pool *p, size_t wanted)
{
	for (; wanted > p->nbytes_mapped; wanted = align_up(wanted / 2, LEAST_BYTES)) {
		struct work_buffer *b = own_map(wanted, "spangc work");

		if (b) {
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
	atomic_store_explicit(&p->crew, 0, memory_order_relaxed);
	atomic_store_explicit(&p->nwanted, 1, memory_order_relaxed);
	atomic_store_explicit(&p->nspins, WORK_SPINS, memory_order_relaxed);
	atomic_store_explicit(&p->is_asked, false, memory_order_relaxed);
	return nbytes;
}

void work_end(struct work_pool *p)
{
	if (p->buffer)
		os_discard((uintptr_t)p->buffer, p->nbytes_mapped);
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
		/* seq_cst: `full` against `crew` in work_wait(). release of the items: pairs with the
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
	/* seq_cst: `full` against `crew`, see work_wait(). */
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

static void swap(struct work *w)
{
	struct work_buffer *b = w->top;

	w->top = w->other;
	w->other = b;
}

static void wake(struct work_pool *p, int n)
{
	/* release: who sees the news sees what came before. Pairs with the acquire in work_wait(). */
	atomic_fetch_add_explicit(&p->news, 1, memory_order_release);
	regs_syscall(SYS_futex, (long)&p->news, FUTEX_WAKE_PRIVATE, n, 0);
}

/* Those that spin see it; one that sleeps is woken. */
static void give(struct work_pool *p, struct work_buffer *b)
{
	put(p, &p->full, b);
	/* seq_cst: `full` and `crew`. Either the idle one sees the buffer, or we see it. */
	if ((uint32_t)atomic_load_explicit(&p->crew, memory_order_seq_cst))
		wake(p, 1);
}

static void drop(struct work_pool *p, struct work_buffer *b)
{
	if (b && b->n)
		give(p, b);
	else if (b)
		put(p, &p->empty, b);
}

void work_leave(struct work *w)
{
	drop(w->pool, w->top);
	drop(w->pool, w->other);
	w->top = w->other = NULL;
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
	/* relaxed: a hint. Only if it must: others read the line. */
	if (atomic_load_explicit(&p->is_asked, memory_order_relaxed))
		atomic_store_explicit(&p->is_asked, false, memory_order_relaxed);
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

static bool are_all_idle(uint64_t crew)
{
	return crew >> 32 == (uint32_t)crew;
}

/* The first one may sleep, and all be done. */
static void tell_if_all_idle(struct work_pool *p, uint64_t crew)
{
	if (are_all_idle(crew) && crew)
		wake(p, INT_MAX);
}

void work_enter(struct work_pool *p)
{
	/* seq_cst: before a buffer is taken, see work_wait(). */
	atomic_fetch_add_explicit(&p->crew, ONE_WORKER, memory_order_seq_cst);
}

void work_exit(struct work_pool *p)
{
	/* seq_cst: after what was left to the others. */
	tell_if_all_idle(p, atomic_fetch_sub_explicit(&p->crew, ONE_WORKER, memory_order_seq_cst)
	                    - ONE_WORKER);
}

/* seq_cst: `crew` and `full`, see give(). */
static void become_idle(struct work_pool *p, uint32_t number)
{
	uint64_t crew = atomic_fetch_add_explicit(&p->crew, 1, memory_order_seq_cst) + 1;

	if (number)
		tell_if_all_idle(p, crew);
}

static void stop_idling(struct work_pool *p)
{
	/* seq_cst: as in become_idle(). */
	atomic_fetch_sub_explicit(&p->crew, 1, memory_order_seq_cst);
}

/* Of one who waits, and saw `news` and then nothing in the list. */
static bool is_over(struct work_pool *p, uint32_t number, uint32_t news)
{
	/* relaxed: who wants fewer wakes us. */
	if (number)
		return number >= atomic_load_explicit(&p->nwanted, memory_order_relaxed);
	/* seq_cst: see give(). acquire: the news came before. */
	return are_all_idle(atomic_load_explicit(&p->crew, memory_order_seq_cst))
	       && atomic_load_explicit(&p->news, memory_order_acquire) == news;
}

bool work_wait(struct work *w, uint32_t number)
{
	struct work_pool *p = w->pool;
	/* relaxed: a hint. */
	uint32_t nspins = atomic_load_explicit(&p->nspins, memory_order_relaxed);

	become_idle(p, number);
	for (uint32_t spins = 0;; spins++) {
		/* acquire: pairs with the release in wake(). */
		uint32_t news = atomic_load_explicit(&p->news, memory_order_acquire);

		if (!is_empty(&p->full)) {
			stop_idling(p);
			if (work_take(w))
				return true;
			become_idle(p, number);
		} else if (is_over(p, number, news)) {
			stop_idling(p);
			return false;
		} else if (spins < nspins) {
			cpu_relax();
		} else {
			regs_syscall(SYS_futex, (long)&p->news, FUTEX_WAIT_PRIVATE, news, 0);
		}
	}
}

void work_want(struct work_pool *p, uint32_t nworkers, uint32_t nspins)
{
	/* relaxed: a hint. */
	atomic_store_explicit(&p->nspins, nspins, memory_order_relaxed);
	/* release: what the helpers shall see. Pairs with the acquire in work_await(). */
	atomic_store_explicit(&p->nwanted, nworkers, memory_order_release);
	regs_syscall(SYS_futex, (long)&p->nwanted, FUTEX_WAKE_PRIVATE, INT_MAX, 0);
	wake(p, INT_MAX);
}

bool work_await(struct work_pool *p, uint32_t number)
{
	for (;;) {
		/* acquire: pairs with the release in work_want(). */
		uint32_t n = atomic_load_explicit(&p->nwanted, memory_order_acquire);

		if (n == 0 || n > number)
			return n;
		regs_syscall(SYS_futex, (long)&p->nwanted, FUTEX_WAIT_PRIVATE, n, 0);
	}
}

bool work_ask(struct work_pool *p)
{
	if (!is_empty(&p->full))
		return true;
	/* relaxed: a hint. */
	atomic_store_explicit(&p->is_asked, true, memory_order_relaxed);
	return false;
}
