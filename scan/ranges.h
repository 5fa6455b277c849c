/* ranges.h: a list of address ranges, sorted for a walk over rising addresses. */
#ifndef SCAN_RANGES_H
#define SCAN_RANGES_H

#include "core/base.h"

struct range {
	uintptr_t from, to;
};

struct ranges {
	struct range *range;
	size_t n, room;
	size_t at;                              /* where the walk is */
};

/* False: no memory. ctx: stw */
bool ranges_add(struct ranges *r, uintptr_t from, uintptr_t to);

/* Before the first walk: sorts. ctx: stw */
void ranges_sort(struct ranges *r);

/* The first part of [*from, to) that is in no range; *from moves behind it, or to `to`. Calls come
 * with rising addresses. False: no part is left. ctx: stw */
bool ranges_next_outside(struct ranges *r, uintptr_t *from, uintptr_t to, struct range *part);

/* Empty; the memory is kept. ctx: any */
void ranges_clear(struct ranges *r);

#endif
