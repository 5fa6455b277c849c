/* marks.c: see marks.h.
 *
 * Reached from the collector, which begins a cycle, and from magazine.c. The table is heap.c's: it grows with the heap.
 */
#include "core/marks.h"

struct marks marks;

void marks_set_batch(void **slots, unsigned n)
{
	uint64_t bits = 0;
	size_t word = 0;

	for (unsigned i = 0; i < n; i++) {
		size_t g = marks_granule((uintptr_t)slots[i]);

		if (bits && g / 64 != word) {
			/* relaxed, both: as in marks_set(). */
			atomic_fetch_or_explicit(&marks.bits[word], bits, memory_order_relaxed);
			bits = 0;
		}
		word = g / 64;
		bits |= UINT64_C(1) << (g % 64);
	}
	if (bits)
		atomic_fetch_or_explicit(&marks.bits[word], bits, memory_order_relaxed);
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
