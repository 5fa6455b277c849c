/* ranges.c: see ranges.h. Reached from roots.c; memory comes from the kernel and is kept. */
#include "scan/ranges.h"

#include "core/os.h"
#include "scan/own.h"

#include <string.h>

#define FIRST_BYTES KIB(16)

bool ranges_add(struct ranges *r, uintptr_t from, uintptr_t to)
{
	if (r->n == r->room) {
		size_t nbytes = r->room ? r->room * 2 * sizeof *r->range : FIRST_BYTES;
		struct range *larger = own_map(nbytes, "spangc ranges");

		if (!larger)
			return false;
		if (r->room) {
			memcpy(larger, r->range, r->n * sizeof *larger);
			os_discard((uintptr_t)r->range, r->room * sizeof *r->range);
		}
		r->range = larger;
		r->room = nbytes / sizeof *larger;
	}
	r->range[r->n++] = (struct range){ from, to };
	return true;
}

/* Shell's, with Knuth's gaps: some thousand ranges at most, most of them in order. */
void ranges_sort(struct ranges *r)
{
	size_t gap = 1;

	while (gap < r->n)
		gap = gap * 3 + 1;
	for (; gap; gap /= 3) {
		for (size_t i = gap; i < r->n; i++) {
			struct range moved = r->range[i];
			size_t k = i;

			for (; k >= gap && r->range[k - gap].from > moved.from; k -= gap)
				r->range[k] = r->range[k - gap];
			r->range[k] = moved;
		}
	}
	r->at = 0;
}

bool ranges_next_outside(struct ranges *r, uintptr_t *from, uintptr_t to, struct range *part)
{
	for (; r->at < r->n && *from < to; r->at++) {
		const struct range *next = &r->range[r->at];

		if (next->from >= to)
			break;
		if (next->from > *from) {
			*part = (struct range){ *from, next->from };
			*from = next->from;
			return true;
		}
		if (next->to > *from)
			*from = next->to < to ? next->to : to;
		if (next->to > to)
			break;                          /* it goes on behind `to` */
	}
	*part = (struct range){ *from, to };
	*from = to;
	return part->from < part->to;
}

void ranges_clear(struct ranges *r)
{
	r->n = r->at = 0;
}
