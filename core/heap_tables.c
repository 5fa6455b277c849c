/* heap_tables.c: see heap_tables.h.
 *
 * Depends on meta.c and os.h. LOCK_PAGES is held, but at the start.
 *
 * A process that never outgrows the first tables touches one os page of them, not one page of each
 * table and five of summaries, far apart, with as many pages of the kernel's page tables: the table
 * of all sizes took `sh -c :` 14 more page faults and 37 us of 0.7 ms.
 */
#include "core/heap_tables.h"

#include "core/knobs.h"
#include "core/marks.h"
#include "core/meta.h"
#include "core/os.h"

#define FIRST_PAGES 256                         /* what the first tables cover: 2 MiB */

/* Side by side: the records come one behind the other. */
bool heap_tables_start(void)
{
	void *classes = meta_alloc(FIRST_PAGES, CACHE_LINE);
	void *summary = meta_alloc(pages_summary_bytes(FIRST_PAGES), CACHE_LINE);
	void *chunk = meta_alloc(pages_chunk_bytes(), CACHE_LINE);
	void *arena = meta_alloc(sizeof(void *), sizeof(void *));
	void *spans = meta_alloc(FIRST_PAGES * sizeof(void *), sizeof(void *));

	if (!classes || !summary || !chunk || !arena || !spans)
		return false;
	/* relaxed, all: there is one thread. */
	atomic_store_explicit(&heap.page_class, classes, memory_order_relaxed);
	atomic_store_explicit(&heap.page_span, spans, memory_order_relaxed);
	atomic_store_explicit(&heap.arena_span, arena, memory_order_relaxed);
	pages_init(&heap.pages, chunk, summary, FIRST_PAGES);
	return true;
}

/* Whoever writes to the first tables holds LOCK_PAGES, as the caller does: nothing is lost. */
static void move_tables(void *summary, page_idx capacity)
{
	_Atomic uint8_t *classes = (void *)heap.class_table.region.base;
	struct span *_Atomic *spans = (void *)heap.page_table.region.base;
	struct span *_Atomic *arenas = (void *)heap.arena_table.region.base;

	/* relaxed, all: under the lock. */
	for (page_idx i = 0; i < FIRST_PAGES; i++) {
		atomic_store_explicit(&classes[i],
		                      atomic_load_explicit(heap_page_class(i), memory_order_relaxed),
		                      memory_order_relaxed);
		atomic_store_explicit(&spans[i],
		                      atomic_load_explicit(heap_page_entry(i), memory_order_relaxed),
		                      memory_order_relaxed);
	}
	/* release: who sees a table by its address alone sees the entries. No arena is full yet. */
	atomic_store_explicit(&heap.page_class, classes, memory_order_release);
	atomic_store_explicit(&heap.page_span, spans, memory_order_release);
	atomic_store_explicit(&heap.arena_span, arenas, memory_order_release);
	pages_move(&heap.pages, (void *)heap.chunk_table.region.base, summary, capacity);
	/* release: pairs with the acquire in heap_tables_have_moved(). */
	atomic_store_explicit(&heap.has_moved, true, memory_order_release);
}

static bool leave_first_tables(void)
{
	page_idx capacity = (page_idx)(heap.region.nbytes >> PAGE_SHIFT);
	void *summary = os_map(pages_summary_bytes(capacity));

	if (!summary)
		return false;
	os_name((uintptr_t)summary, pages_summary_bytes(capacity), "spangc pages");
	move_tables(summary, capacity);
	return true;
}

/* Every table in one region of its own, apart from the heap. */
bool heap_tables_reserve(size_t heap_bytes)
{
	bool has_marks = knobs.mode == KNOB_MODE_GC;
	size_t mark_bytes = has_marks ? heap_bytes >> (MARKS_GRANULE_SHIFT + 3) : 0;
	size_t npages = heap_bytes >> PAGE_SHIFT;
	size_t granule_bytes = heap_bytes >> heap.granule_shift;
	size_t chunk_bytes = (npages >> PAGES_CHUNK_SHIFT) * pages_chunk_bytes();
	size_t arena_bytes = (heap_bytes >> ARENA_SHIFT) * sizeof(void *);
	size_t total = granule_bytes + npages * (1 + sizeof(void *)) + chunk_bytes + arena_bytes
	               + mark_bytes + MIB(1);
	struct os_region space;

	total = align_up(total, MIB(1));
	if (os_reserve(&space, total, total, OS_PAGE_BYTES))
		return false;
	space.base += OS_PAGE_BYTES;            /* between the kernel's next mapping and the granules */
	space.nbytes -= OS_PAGE_BYTES;
	meta_table_init(&heap.granule_table, &space, granule_bytes);
	meta_table_init(&heap.class_table, &space, npages);
	meta_table_init(&heap.page_table, &space, npages * sizeof(void *));
	meta_table_init(&heap.chunk_table, &space, chunk_bytes);
	meta_table_init(&heap.arena_table, &space, arena_bytes);
	meta_table_init(&heap.mark_table, &space, mark_bytes);
	heap.granules = (void *)heap.granule_table.region.base;
	marks.bits = has_marks ? (void *)heap.mark_table.region.base : NULL;
	return true;
}

static bool cover_large_tables(size_t nbytes)
{
	size_t nchunks = (nbytes + PAGES_CHUNK * PAGE_BYTES - 1) >> (PAGES_CHUNK_SHIFT + PAGE_SHIFT);
	size_t narenas = (nbytes + ARENA_BYTES - 1) >> ARENA_SHIFT;

	return meta_table_cover(&heap.class_table, nbytes >> PAGE_SHIFT, "spangc page_class")
	       && meta_table_cover(&heap.page_table, (nbytes >> PAGE_SHIFT) * sizeof(void *),
	                           "spangc page_span")
	       && meta_table_cover(&heap.chunk_table, nchunks * pages_chunk_bytes(), "spangc pages")
	       && meta_table_cover(&heap.arena_table, narenas * sizeof(void *), "spangc arena_span");
}

bool heap_tables_cover(size_t nbytes)
{
	if (!meta_table_cover(&heap.granule_table, nbytes >> heap.granule_shift, "spangc granules"))
		return false;
	if (marks_are_on()
	    && !meta_table_cover(&heap.mark_table, nbytes >> (MARKS_GRANULE_SHIFT + 3), "spangc marks"))
		return false;
	if (nbytes <= FIRST_PAGES * PAGE_BYTES)
		return true;
	return cover_large_tables(nbytes) && (heap_tables_have_moved() || leave_first_tables());
}

void heap_tables_unreserve(void)
{
	meta_table_unreserve(&heap.granule_table);
	meta_table_unreserve(&heap.class_table);
	meta_table_unreserve(&heap.page_table);
	meta_table_unreserve(&heap.chunk_table);
	meta_table_unreserve(&heap.arena_table);
	meta_table_unreserve(&heap.mark_table);
}
