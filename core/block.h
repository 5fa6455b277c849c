/* block.h: what the program holds: allocated blocks, by address.
 *
 * The granule of an address says whether an allocated block starts there and of which class; the
 * span says the rest.
 */
#ifndef CORE_BLOCK_H
#define CORE_BLOCK_H

#include "core/base.h"
#include "core/span.h"

struct block {
	struct span *span;
	size_t       usable;                    /* bytes the program may write */
	class_idx    class;
};

/* Is `p` the start of an allocated block? ctx: any, signal */
bool block_find(const void *p, struct block *b);

/* `p` is not the start of an allocated block: one line that says what it is, for the function
 * `call`; aborts unless SPANGC_MISUSE=warn. ctx: any, signal */
COLD void block_report(const void *p, const char *call);

/* Does realloc(p, nbytes) leave the block in place? ctx: any */
bool block_keeps(const struct block *b, size_t nbytes);

/* Could a request of `nbytes`, aligned to `align` (1: not), have led to this block, also by
 * realloc()? ctx: any */
bool block_fits(const struct block *b, size_t nbytes, size_t align);

#endif
