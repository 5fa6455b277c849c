/* discard.c: the calls that give memory back to the kernel, and their counts.
 *
 * Reached from scavenge.c and trim.c. Depends on os.h for the calls and on heap.h for where
 * granules lie; takes no lock. Statistics are relaxed additions: nothing is decided by them.
 */
#include "core/discard.h"

#include "core/heap.h"
#include "core/knobs.h"
#include "core/live.h"
#include "core/os.h"

#include <string.h>

struct discard_counts discard_counts;

/* One of os.h's calls, counted. True: done. */
static bool call(int (*discard)(uintptr_t, size_t), uintptr_t addr, size_t nbytes)
{
	uint64_t start = os_now_ns();
	int error = discard(addr, nbytes);

	count_add(&live.madvise_ns, os_now_ns() - start);
	count_add(&live.madvise_calls, 1);
	return !error;
}

enum pages_kind discard_range(uintptr_t addr, size_t nbytes)
{
	if (knobs.madvise == KNOB_MADVISE_FREE && call(os_discard_lazily, addr, nbytes)) {
		count_add(&discard_counts.nlazy, 1);
		count_add(&live.lazy_bytes, nbytes);
		return PAGES_LAZY;
	}
	if (call(os_discard, addr, nbytes)) {
		count_add(&discard_counts.ndiscards, 1);
		count_add(&live.released_bytes, nbytes);
		return PAGES_CLEAN;
	}
	count_add(&discard_counts.nfailed, 1);
	return PAGES_DIRTY;
}

void discard_granules(page_idx first, page_idx npages)
{
	uintptr_t table = (uintptr_t)heap.granules;
	uintptr_t from = table + (((uintptr_t)first << PAGE_SHIFT) >> heap.granule_shift);
	uintptr_t to = table + (((uintptr_t)(first + npages) << PAGE_SHIFT) >> heap.granule_shift);

	from = align_up(from, OS_PAGE_BYTES);
	to = align_down(to, OS_PAGE_BYTES);
	if (from >= to || !call(os_discard, from, to - from))
		return;
	count_add(&discard_counts.ntable_discards, 1);
	count_add(&live.table_bytes, to - from);
}

void discard_fork_child(void)
{
	memset(&discard_counts, 0, sizeof discard_counts);
}
