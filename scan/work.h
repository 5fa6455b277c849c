/* work.h: ranges that wait to be read, in buffers of 2 KiB that workers hand to each other.
 *
 * Each worker has two buffers, as in Go: it pushes to and pops from one, and the other, full or
 * empty, saves it from going to the shared lists at every turn. A stack: what was found last is
 * read first. A worker that has nothing waits until another hands something over. When all that there
 * are wait, the work is done. Workers may come and go: who goes leaves what he has to the others.
 *
 * The memory is one mapping, asked for before the work begins: afterwards no call of the kernel but
 * futex(2) is made. The lists are stacks without locks.
 *
 * An item is one word: an address of 48 bits, and 8-byte words to be read from there in the 16
 * above.
 */
#ifndef SCAN_WORK_H
#define SCAN_WORK_H

#include "core/base.h"

typedef uint64_t work_item;

#define WORK_ADDRESS_BITS 48
#define WORK_WORDS_MAX 0xffff
#define WORK_BUFFER_BYTES 2048
#define WORK_ITEMS (WORK_BUFFER_BYTES / sizeof(work_item) - 1)

struct work_buffer {
	_Atomic uint32_t next;                  /* in a list: 1 more than the index; 0: the last */
	uint32_t n;
	work_item item[WORK_ITEMS];
};

/* What the workers share. */
struct work_pool {
	/* Constant while there is work. */
	struct work_buffer *buffer;
	size_t nbytes_mapped;
	uint32_t nbuffers;

	/* Any worker, atomic. Heads of lists: as in `next`, below a count that changes each time. */
	_Alignas(CACHE_LINE) _Atomic uint64_t full;
	_Alignas(CACHE_LINE) _Atomic uint64_t empty;
	_Atomic uint32_t nused;                 /* buffers that were ever taken */
	_Alignas(CACHE_LINE) _Atomic uint64_t crew;     /* workers; in the lower half, idle ones */
	_Atomic uint32_t news;                  /* a futex: changes when the idle should look */
	_Atomic uint32_t nwanted;               /* a futex: helpers from this number on sleep; 0: they end */
	_Atomic uint32_t nspins;                /* of the idle, before they sleep */
	_Atomic bool is_asked;                  /* somebody came for work, and there was none */
};

/* One worker's. */
struct work {
	struct work_buffer *top, *other;        /* neither is NULL */
	struct work_pool *pool;
};

/* Memory for up to `most` bytes of buffers, or for less where the kernel refuses. False: none.
 * ctx: any */
bool work_start(struct work_pool *p, size_t most);

/* The memory goes back: addresses of blocks must not lie about. ctx: any */
void work_end(struct work_pool *p);

/* Two buffers for a worker; false: no memory. Later they are given back, and what is in them is there
 * for the others. ctx: any */
bool work_join(struct work *w, struct work_pool *p);
void work_leave(struct work *w);

/* From now on the caller is one of the crew, who has work or takes some; no longer. ctx: any */
void work_enter(struct work_pool *p);
void work_exit(struct work_pool *p);

/* So many workers are wanted from now on, the first, number 0, included; 0: the others end. Those that
 * wait spin so long before they sleep. ctx: any */
#define WORK_SPINS 200                          /* 10 us, a fifth of what a wake-up takes */
void work_want(struct work_pool *p, uint32_t nworkers, uint32_t nspins);

/* A helper waits until it is wanted. False: it shall end. ctx: a thread of workers.h */
bool work_await(struct work_pool *p, uint32_t number);

/* Is there something to take? If not, who has something will hand over some. ctx: any */
bool work_ask(struct work_pool *p);

/* Room on top; something on top. False: no memory; nothing there. ctx: any */
SLOW bool work_make_room(struct work *w);
SLOW bool work_take(struct work *w);

/* The worker has nothing left, and waits until there is something. False, to the first: nobody has;
 * to others: they are not wanted any more. ctx: any */
bool work_wait(struct work *w, uint32_t number);

/* Part of what the worker has is for those that wait. ctx: any */
SLOW void work_hand_over(struct work *w);

HOT work_item work_item_of(uintptr_t from, size_t nwords)
{
	return from | (uint64_t)nwords << WORK_ADDRESS_BITS;
}

HOT uintptr_t work_from(work_item item)
{
	return item & ((UINT64_C(1) << WORK_ADDRESS_BITS) - 1);
}

HOT size_t work_nwords(work_item item)
{
	return item >> WORK_ADDRESS_BITS;
}

/* False: no memory. ctx: any */
HOT bool work_push(struct work *w, work_item item)
{
	if (unlikely(w->top->n == WORK_ITEMS) && !work_make_room(w))
		return false;
	w->top->item[w->top->n++] = item;
	return true;
}

/* False: this worker has nothing, nor do the lists. ctx: any */
HOT bool work_pop(struct work *w, work_item *item)
{
	if (unlikely(!w->top->n) && !work_take(w))
		return false;
	*item = w->top->item[--w->top->n];
	return true;
}

/* Now and then: does somebody wait? ctx: any */
HOT void work_share(struct work *w)
{
	struct work_pool *p = w->pool;

	/* relaxed, both: who is not seen is seen the next time. */
	if (unlikely((uint32_t)atomic_load_explicit(&p->crew, memory_order_relaxed)
	             | atomic_load_explicit(&p->is_asked, memory_order_relaxed)))
		work_hand_over(w);
}

#endif
