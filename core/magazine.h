/* magazine.h: what happens when a magazine is empty or full; what magazines and depots hold.
 *
 * The layout of a magazine and the hot path are in cache.h.
 */
#ifndef CORE_MAGAZINE_H
#define CORE_MAGAZINE_H

#include "core/cache.h"

/* Fills the empty magazine of class c, and takes a slot from it. NULL: no memory.
 * ctx: alloc, by the owner with its magazines in hand */
void *magazine_refill(struct cache *k, class_idx c);

/* Is the magazine full that has this top? So is one that was never used. ctx: any */
static inline bool magazine_is_full(void **top)
{
	return ((uintptr_t)(top + 1) & (MAGAZINE_BYTES - 1)) == 0;
}

/* Makes room for `p` in the full magazine of class c. False: there is no memory for a magazine, and
 * the span has taken p. ctx: alloc, by the owner with its magazines in hand */
bool magazine_make_room(struct cache *k, class_idx c, void *p);

/* All slots in the magazines and the depot of `k` go back to their spans, and the magazines are as
 * small as at first. ctx: alloc, its lock, by the owner with its magazines in hand */
void magazine_empty_all(struct cache *k);

/* The full magazines in the depot of `k` go back to their spans. ctx: alloc, its lock */
void magazine_empty_depot(struct cache *k);

/* Bytes of slots in a magazine of class c that lies in a depot. ctx: any */
size_t magazine_depot_nbytes(class_idx c);

/* Shows the slots in the calling thread's magazines of class c. ctx: alloc, its lock */
void magazine_visit_slots(const struct cache *k, class_idx c,
                          void (*fn)(void **slots, size_t n, void *arg), void *arg);

/* Slots in the magazines of `k`, its depot included: exact for the calling thread's, else a
 * moment's value.
 * ctx: any */
size_t magazine_count_slots(const struct cache *k, class_idx c);

#endif
