/* limit.c: by how much SPANGC_MEMORY_LIMIT is passed, and whether a search of all spans pays.
 *
 * Reached from scavenge.c, under LOCK_PAGES, and from scan/pacing.c. Depends on the counts of heap.h, meta.h and
 * live.h.
 */
#include "core/limit.h"

#include "core/heap.h"
#include "core/knobs.h"
#include "core/live.h"
#include "core/meta.h"
#include "core/os.h"
#include "core/sigmask.h"

#define STRAINED_PART 64                        /* of the limit: so much more is something new */
#define STRAINED_GROWTH 16                      /* if that was no use: such a part of the heap */

/* When a program stays above its limit whatever we do, the next search waits for one of these.
 * LOCK_PAGES. */
static struct {
	size_t   next_bytes;
	uint64_t next_ms;
} strained;

/* LOCK_PAGES is held. */
static size_t resident_bytes(void)
{
	page_idx ngiven = heap.pages.nclean + heap.pages.nlazy;
	size_t nbytes = ((size_t)(heap.pages.npages - ngiven) << PAGE_SHIFT) + meta_bytes();
	/* relaxed: an estimate. */
	size_t trimmed = atomic_load_explicit(&live.trimmed_bytes, memory_order_relaxed);

	return nbytes > trimmed ? nbytes - trimmed : 0;
}

size_t limit_resident_bytes(void)
{
	struct sigmask saved;

	heap_enter(&saved);

	size_t nbytes = resident_bytes();

	heap_leave(&saved);
	return nbytes;
}

size_t limit_excess_bytes(void)
{
	size_t resident = resident_bytes();

	if (knobs.madvise == KNOB_MADVISE_NONE || resident <= knobs.memory_limit_bytes)
		return 0;
	return resident - knobs.memory_limit_bytes;
}

bool limit_may_search(void)
{
	return resident_bytes() >= strained.next_bytes || os_now_ms() >= strained.next_ms;
}

void limit_note_search(size_t nbytes, uint64_t cpu_us)
{
	check(lock_held(&heap.lock));

	size_t step = knobs.memory_limit_bytes / STRAINED_PART;
	size_t resident = resident_bytes();

	if (nbytes < step && step < resident / STRAINED_GROWTH)
		step = resident / STRAINED_GROWTH;
	strained.next_bytes = resident + step;
	strained.next_ms = os_now_ms() + 1 + cpu_us / 10;
}
