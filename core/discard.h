/* discard.h: the calls that give memory back to the kernel, by SPANGC_MADVISE, and their counts.
 *
 * Which memory, and when, is decided elsewhere (scavenge.h, trim.h).
 */
#ifndef CORE_DISCARD_H
#define CORE_DISCARD_H

#include "core/base.h"
#include "core/pages.h"

/* Calls, besides the bytes and the time in live.h. A child begins at 0. */
struct discard_counts {
	_Atomic uint64_t ndiscards;             /* MADV_DONTNEED of heap memory */
	_Atomic uint64_t nlazy;                 /* MADV_FREE of heap memory */
	_Atomic uint64_t ntable_discards;       /* MADV_DONTNEED of granules */
	_Atomic uint64_t nfailed;               /* calls the kernel refused */
};

extern struct discard_counts discard_counts;

/* MADV_FREE where asked for and possible, else MADV_DONTNEED, of whole os pages that nobody else
 * can have meanwhile. What the range is afterwards: PAGES_DIRTY if the kernel refused.
 * ctx: alloc */
enum pages_kind discard_range(uintptr_t addr, size_t nbytes);

/* The whole os pages of the granules of these pages, which are taken and hold nothing. The granules
 * are zero, so this changes nothing but memory in use. ctx: alloc */
void discard_granules(page_idx first, page_idx npages);

/* ctx: fork child */
void discard_fork_child(void);

#endif
