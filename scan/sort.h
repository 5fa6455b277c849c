/* sort.h: sorting in place, without memory and without libc's qsort, which allocates. */
#ifndef SCAN_SORT_H
#define SCAN_SORT_H

#include "core/base.h"

/* Elements of up to SORT_BYTES_MAX bytes; `is_before` is a strict order, and equal elements may change
 * places. ctx: stw */
#define SORT_BYTES_MAX 256
void sort(void *elements, size_t n, size_t nbytes, bool (*is_before)(const void *, const void *));

#endif
