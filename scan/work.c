/* work.c: see work.h. Reached from mark.c; depends on os.h. */
#include "scan/work.h"

#include "core/os.h"

#define BLOCK_BYTES KIB(64)

_Static_assert(sizeof(struct work_buffer) <= WORK_BUFFER_BYTES, "");

static bool more(struct work *w)
{
	char *block = w->nblocks_left ? os_map(BLOCK_BYTES) : NULL;

	if (!block)
		return false;
	w->nblocks_left--;
	os_name((uintptr_t)block, BLOCK_BYTES, "spangc work");
	for (size_t at = 0; at < BLOCK_BYTES; at += WORK_BUFFER_BYTES) {
		struct work_buffer *b = (void *)(block + at);

		b->next = w->unused;
		w->unused = b;
	}
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
	if (!w->top)
		return work_push_buffer(w);
	while (work_pop_buffer(w))
		;
	w->top->n = 0;
	return true;
}
