/* work.h: ranges that wait to be read, in buffers of 2 KiB that workers hand to each other.
 *
 * Each worker has two buffers, as in Go: it pushes to and pops from one, and the other, full or
 * empty, saves it from going to the shared lists at every turn. A stack: what was found last is read
 * first. A worker that has nothing waits until another hands something over, or all wait: then the
 * work is done.
 *
 * The memory is one mapping, asked for before the work begins: afterwards no call of the kernel but
 * futex(2) is made. The lists are stacks without locks.
 *
 * An item is one word: an address of 48 bits, and 8-byte words to be read from there in the 16 above.
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
	_Alignas(CACHE_LINE) _Atomic uint32_t nworkers;
	_Atomic uint32_t nidle;
	_Atomic uint32_t news;                  /* a futex: changes when the idle should look */
	_Atomic bool is_over;
};

/* One worker's. */
struct work {
	struct work_buffer *top, *other;        /* neither is NULL */
	struct work_pool *pool;
};

/* Memory for up to `most` bytes of buffers, or for less where the kernel refuses. False: none.
 * ctx: stw */
bool work_start(struct work_pool *p, size_t most);

/* The memory goes back: addresses of blocks must not lie about. ctx: any */
void work_end(struct work_pool *p);

/* Two buffers for a worker; false: no memory. Later they are given back, empty. ctx: stw */
bool work_join(struct work *w, struct work_pool *p);
void work_leave(struct work *w);

/* How many workers there will be: one more, one less. The caller is one of them and has work. Before
 * the first, `begin`. ctx: stw */
void work_begin(struct work_pool *p);
void work_expect(struct work_pool *p);
void work_unexpect(struct work_pool *p);

/* Room on top; something on top. False: no memory; nothing there. ctx: stw */
SLOW bool work_make_room(struct work *w);
SLOW bool work_take(struct work *w);

/* The worker has nothing left, and waits until there is something. False: nobody has. ctx: stw */
bool work_wait(struct work *w);

/* Part of what the worker has is for those that wait. ctx: stw */
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

/* False: no memory. ctx: stw */
HOT bool work_push(struct work *w, work_item item)
{
	if (unlikely(w->top->n == WORK_ITEMS) && !work_make_room(w))
		return false;
	w->top->item[w->top->n++] = item;
	return true;
}

/* False: this worker has nothing, nor do the lists. ctx: stw */
HOT bool work_pop(struct work *w, work_item *item)
{
	if (unlikely(!w->top->n) && !work_take(w))
		return false;
	*item = w->top->item[--w->top->n];
	return true;
}

/* Now and then: does somebody wait? ctx: stw */
HOT void work_share(struct work *w)
{
	/* relaxed: who is not seen is seen the next time. */
	if (unlikely(atomic_load_explicit(&w->pool->nidle, memory_order_relaxed)))
		work_hand_over(w);
}

#endif
