/* limit.h: SPANGC_MEMORY_LIMIT: by how much it is passed, and whether a search of all spans pays.
 *
 * What the kernel holds for us is an estimate from our own counts. A program whose blocks alone
 * pass the limit stays above it whatever goes back; searches are then so few that they cost little.
 */
#ifndef CORE_LIMIT_H
#define CORE_LIMIT_H

#include "core/base.h"

/* What the kernel holds for the heap and its records, as far as we know. ctx: any */
size_t limit_resident_bytes(void);

/* Bytes above the limit that only we could give back. ctx: any, LOCK_PAGES */
size_t limit_excess_bytes(void);

/* Is a search of all spans worth it? If the heap has grown since the last one, or that took 1 % of
 * the time that went by since. ctx: any, LOCK_PAGES */
bool limit_may_search(void);

/* A search gave back so much, and took so long. A round that did not help much is not repeated
 * before the heap has grown by a part of itself: so all rounds of a heap that outgrows its limit
 * together take time in proportion to its size. ctx: any, LOCK_PAGES */
void limit_note_search(size_t nbytes, uint64_t cpu_us);

#endif
