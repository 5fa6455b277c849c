/* present.h: what is there of a mapping: the pages that may hold something written. */
#ifndef SCAN_PRESENT_H
#define SCAN_PRESENT_H

#include "core/base.h"
#include "scan/maps.h"
#include "scan/threads.h"

/* Around present_visit(). Then: do we know which pages of a private mapping were written? Else those of
 * the file are shown as well. ctx: stw */
void present_begin(void);
void present_end(void);
bool present_tells_written(void);

/* Shows the written pages of [from, to), a part of `m`: of a private mapping of a file those that
 * were written, of others those that are in memory or swapped. A private mapping where it is, unless
 * `is_copied`: then, and always of shared ones and of what is swapped or protected against reading,
 * copies, and what can't be read is left out. Of private memory that is protected so, nothing where
 * the kernel's way to find pages is slow; of shared memory that is protected so, nothing. ctx: stw */
void present_visit(const struct mapping *m, uintptr_t from, uintptr_t to, bool is_copied,
                   scan_range_fn *fn, void *arg);

/* Is `p`, which was shown, in a copy? ctx: stw */
bool present_is_copy(uintptr_t p);

/* Pages are looked up one by one, as if the kernel knew no other way. For tests. ctx: any */
void present_pretend_no_scan(bool pretended);
void present_pretend_no_pagemap(bool pretended);

#endif
