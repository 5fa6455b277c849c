/* record.h: what mode leaks keeps about each block: the stack that allocated it, and how many bytes
 * were asked for.
 *
 * A word at the end of the slot, RECORD_BYTES long; of a large block it stands in the span's
 * record. Only heap.record_bytes says whether there are any: elsewhere a block ends where its slot
 * does.
 *
 *     bits  0-14   bytes between those asked for and the record
 *     bit   15     the block is to be ignored
 *     bits 16-39   the stack's number (scan/stacks.h); 0: none
 *
 * A program that writes behind its block writes here: what is read is bounded by the slot.
 */
#ifndef CORE_RECORD_H
#define CORE_RECORD_H

#include "core/base.h"
#include "core/block.h"

#define RECORD_STACK_MAX ((UINT32_C(1) << 24) - 1)

struct record {
	size_t   nbytes;                        /* asked for */
	uint32_t stack;
	bool     is_ignored;
};

/* Writes and reads it. Of `b` only the span, class and usable count. ctx: the block's holder; stw */
void record_set(const void *p, const struct block *b, struct record r);
struct record record_get(const void *p, const struct block *b);

/* Shows every allocated block, by rising address. The heap is used by nobody else, or the world is
 * stopped. ctx: stw */
void record_visit_blocks(void (*fn)(const void *p, const struct block *b, void *arg), void *arg);

#endif
