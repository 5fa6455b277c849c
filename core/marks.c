/* marks.c: see marks.h.
 *
 * Reached from the collector, which begins a cycle. The table is heap.c's: it grows with the heap.
 */
#include "core/marks.h"

#include <string.h>

struct marks marks;

SLOW void marks_clear_slot(void *p, size_t nbytes)
{
	memset(p, 0, nbytes);
}

/* Words that are 0 stay unwritten: memory behind them need not exist. */
void marks_clear(size_t heap_bytes)
{
	size_t nwords = heap_bytes >> (MARKS_GRANULE_SHIFT + 6);

	/* relaxed, both: a mark that comes meanwhile may be lost or stay; who needs it to stay comes
	 * later. */
	for (size_t w = 0; w < nwords; w++) {
		if (atomic_load_explicit(&marks.bits[w], memory_order_relaxed))
			atomic_store_explicit(&marks.bits[w], 0, memory_order_relaxed);
	}
}
