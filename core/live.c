/* live.c: the counters of live.h and the note that leads to them.
 *
 * Written by heap.c, discard.c and trim.c; read by stats.c and by other processes. The distance in the
 * note is a constant of the link: no relocation is left for the loader.
 */
#include "core/live.h"

#include <stddef.h>

struct live live __attribute__((used)) = { .version = LIVE_VERSION };

_Static_assert(LIVE_FIELDS == 10 && offsetof(struct live, trimmed_bytes) == (size_t)8 * (LIVE_FIELDS - 1),
               "as many fields as the note says");

__asm__(".pushsection .note.spangc, \"a\", %note\n"
        "	.balign 4\n"
        "	.long 7, 8, 1\n"                /* bytes of name and descriptor, type */
        "	.asciz \"spangc\"\n"
        "	.balign 4\n"
        "0:	.long live - 0b\n"
        "	.long 10\n"
        "	.popsection\n");

void live_fork_child(void)
{
	_Atomic uint64_t *const counter[] = {
		&live.released_bytes, &live.lazy_bytes, &live.madvise_calls, &live.madvise_ns,
		&live.reused_released_bytes, &live.table_bytes,
	};

	/* relaxed: one thread. */
	for (size_t i = 0; i < sizeof counter / sizeof *counter; i++)
		atomic_store_explicit(counter[i], 0, memory_order_relaxed);
}
