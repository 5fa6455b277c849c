/* sort.c: heapsort. Reached from leaks_entries.c, leaks_report.c and symbols.c; depends on nothing. */
#include "scan/sort.h"

#include "core/report.h"

#include <string.h>

struct heap {
	char *base;
	size_t nbytes;                          /* of an element */
	bool (*is_before)(const void *, const void *);
	char moved[SORT_BYTES_MAX];
};

static void *at(const struct heap *h, size_t i)
{
	return h->base + i * h->nbytes;
}

/* The element at `i` goes down to where it belongs; last ones are on top. */
static void sift(struct heap *h, size_t i, size_t n)
{
	memcpy(h->moved, at(h, i), h->nbytes);
	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= n)
			break;
		if (child + 1 < n && h->is_before(at(h, child), at(h, child + 1)))
			child++;
		if (!h->is_before(h->moved, at(h, child)))
			break;
		memcpy(at(h, i), at(h, child), h->nbytes);
		i = child;
	}
	memcpy(at(h, i), h->moved, h->nbytes);
}

void sort(void *elements, size_t n, size_t nbytes, bool (*is_before)(const void *, const void *))
{
	struct heap h = { .base = elements, .nbytes = nbytes, .is_before = is_before };
	char last[SORT_BYTES_MAX];

	check(nbytes <= SORT_BYTES_MAX);
	for (size_t i = n / 2; i--;)
		sift(&h, i, n);
	for (size_t i = n; i-- > 1;) {
		memcpy(last, at(&h, 0), nbytes);
		memcpy(at(&h, 0), at(&h, i), nbytes);
		memcpy(at(&h, i), last, nbytes);
		sift(&h, 0, i);
	}
}
