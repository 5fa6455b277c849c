/* work.h: ranges that wait to be read, in buffers of 2 KiB.
 *
 * A stack: what was found last is read first. Buffers come from the kernel in blocks and are never
 * given back one by one; full ones form a list, which is what several workers will share.
 */
#ifndef SCAN_WORK_H
#define SCAN_WORK_H

#include "core/base.h"

struct work_item {
	uintptr_t from, to;
};

#define WORK_BUFFER_BYTES 2048
#define WORK_ITEMS ((WORK_BUFFER_BYTES - 16) / sizeof(struct work_item))

struct work_buffer {
	struct work_buffer *next;
	size_t n;
	struct work_item item[WORK_ITEMS];
};

struct work_block;

struct work {
	struct work_buffer *top;                /* NULL: before work_init() */
	struct work_buffer *unused;
	struct work_block *blocks;
	size_t nblocks_left;                    /* that may still be asked from the kernel */
};

#define WORK_UNLIMITED SIZE_MAX

/* Empty; may take that many blocks of 64 KiB from the kernel. False: no memory. ctx: stw */
bool work_init(struct work *w, size_t nblocks);

/* Empty again, its memory zero: addresses of blocks must not lie about. ctx: any */
void work_clear(struct work *w);

/* A buffer on top, the old one is full; an empty one goes. False: no memory, or nothing below.
 * ctx: stw */
COLD bool work_push_buffer(struct work *w);
COLD bool work_pop_buffer(struct work *w);

/* False: no memory. ctx: stw */
HOT bool work_push(struct work *w, uintptr_t from, uintptr_t to)
{
	if (unlikely(w->top->n == WORK_ITEMS) && !work_push_buffer(w))
		return false;
	w->top->item[w->top->n++] = (struct work_item){ from, to };
	return true;
}

/* False: there is nothing. ctx: stw */
HOT bool work_pop(struct work *w, struct work_item *item)
{
	if (unlikely(!w->top->n) && !work_pop_buffer(w))
		return false;
	*item = w->top->item[--w->top->n];
	return true;
}

#endif
