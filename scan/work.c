/* work.c: see work.h. Reached from mark.c; depends on os.h. */
#include "scan/work.h"

#include "core/os.h"

#define BLOCK_BYTES KIB(64)

/* Never unmapped. */
struct work_block {
	struct work_block *next;
};

_Static_assert(sizeof(struct work_buffer) <= WORK_BUFFER_BYTES, "");

static void link_buffers(struct work *w, struct work_block *block)
{
	for (size_t at = WORK_BUFFER_BYTES; at < BLOCK_BYTES; at += WORK_BUFFER_BYTES) {
		struct work_buffer *b = (void *)((char *)block + at);

		b->next = w->unused;
		w->unused = b;
	}
}

static bool more(struct work *w)
{
	struct work_block *block = w->nblocks_left ? os_map(BLOCK_BYTES) : NULL;

	if (!block)
		return false;
	block->next = w->blocks;
	w->blocks = block;
	w->nblocks_left--;
	os_name((uintptr_t)block, BLOCK_BYTES, "spangc work");
	link_buffers(w, block);
	return true;
}

bool work_push_buffer(struct work *w)
{
	struct work_buffer *b;

	if (!w->unused && !more(w))
		return false;
	b = w->unused;
	w->unused = b->next;
	b->next = w->top;
	b->n = 0;
	w->top = b;
	return true;
}

bool work_pop_buffer(struct work *w)
{
	struct work_buffer *empty = w->top;

	if (!empty->next)
		return false;
	w->top = empty->next;
	empty->next = w->unused;
	w->unused = empty;
	return true;
}

bool work_init(struct work *w, size_t nblocks)
{
	w->nblocks_left = nblocks;
	return w->top || work_push_buffer(w);
}

void work_clear(struct work *w)
{
	w->top = w->unused = NULL;
	for (struct work_block *b = w->blocks, *next; b; b = next) {
		next = b->next;
		os_discard((uintptr_t)b, BLOCK_BYTES);
		b->next = next;
		link_buffers(w, b);
	}
}
