/* live.h: the counters that another process may read while this one runs.
 *
 * Found without symbols, threads or signals: an ELF note of libspangc.so (section .note.spangc, in
 * a PT_NOTE segment, name "spangc", type 1) has as its descriptor
 *     int32   distance from the descriptor's own address to struct live
 *     uint32  number of fields, each a uint64
 * so that process_vm_readv(2) on the library's mapping leads to them. Fields are only ever added
 * at the end. The library itself has no other copy.
 *
 * A page that was handed out counts, touched or not: the kernel may have had less to take.
 */
#ifndef CORE_LIVE_H
#define CORE_LIVE_H

#include "core/base.h"

#define LIVE_VERSION 1
#define LIVE_FIELDS 10                          /* in live.c once more, for the assembler */

struct live {
	_Alignas(CACHE_LINE) uint64_t version;

	/* Now; written under LOCK_PAGES by heap_leave(). */
	_Atomic uint64_t heap_bytes;            /* pages in spans and in threads' caches of pages */
	_Atomic uint64_t free_bytes;            /* free pages that were not given back */

	/* Since the start, or the fork; heap memory but for table_bytes. */
	_Atomic uint64_t released_bytes;        /* given back by MADV_DONTNEED */
	_Atomic uint64_t lazy_bytes;            /* given back by MADV_FREE */
	_Atomic uint64_t madvise_calls;         /* of any sort, refused ones too */
	_Atomic uint64_t madvise_ns;            /* from before to after them, by the clock */
	_Atomic uint64_t reused_released_bytes; /* pages given back and handed out again */
	_Atomic uint64_t table_bytes;           /* of granules, given back by MADV_DONTNEED */

	/* Now; of heap_bytes: given back from under free slots of spans, and not used since. */
	_Atomic uint64_t trimmed_bytes;
};

extern struct live live;

/* A child begins at 0. ctx: fork child */
void live_fork_child(void);

#endif
