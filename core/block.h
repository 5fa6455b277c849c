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

/* Did the collector reclaim a block that started at p, and was the slot not used since?
 * ctx: any, signal */
bool block_is_reclaimed(const void *p);

/* `p` is not the start of an allocated block: one line that says what it is, for the function
 * `call`; aborts unless SPANGC_MISUSE=warn. ctx: any, signal */
COLD void block_report(const void *p, const char *call);

/* Does realloc(p, nbytes) leave the block as it is? It does unless much of it would be unused: more
 * than half up to 8 MiB, more than a quarter above. ctx: any */
bool block_keeps(const struct block *b, size_t nbytes);

/* What to ask for when realloc() makes a block of `usable` bytes hold nbytes: a block that grows
 * will probably grow again. A quarter more each time, as tcmalloc does, makes the moves few; from 8
 * KiB to 8 MiB the next power of two, of which pages that are not used are never touched: growth by
 * halves took 315 ns a step instead of 380. ctx: any */
size_t block_grown(size_t usable, size_t nbytes);

/* Could a request of `nbytes`, aligned to `align` (1: not), have led to this block, also by
 * realloc()? ctx: any */
bool block_fits(const struct block *b, size_t nbytes, size_t align);

#endif
