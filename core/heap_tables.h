/* heap_tables.h: memory for the tables beside the heap: small ones first, large ones once they don't suffice.
 *
 * What is in them says heap.h. Who writes entries of the first tables holds LOCK_PAGES, since they move.
 */
#ifndef CORE_HEAP_TABLES_H
#define CORE_HEAP_TABLES_H

#include "core/heap.h"

/* The first tables, without granules. ctx: init */
bool heap_tables_start(void);

/* Address space for granules and large tables of a heap of that size. ctx: init */
bool heap_tables_reserve(size_t heap_bytes);

/* All tables cover [0, nbytes) of the heap. False: no memory. ctx: alloc, LOCK_PAGES */
bool heap_tables_cover(size_t nbytes);

/* What they do not use is given up. ctx: LOCK_PAGES */
void heap_tables_unreserve(void);

/* Are the large ones in use? ctx: any */
static inline bool heap_tables_have_moved(void)
{
	/* acquire: pairs with the release in move_tables(). */
	return atomic_load_explicit(&heap.has_moved, memory_order_acquire);
}

#endif
