/* spangc.h: what a program may ask of libspangc, beyond malloc and free.
 *
 * Needs nothing at link time: every function is weak, so the same binary runs
 * with the library preloaded and without it. Ask first:
 *
 *     if (spangc_version)
 *             printf("libspangc %s\n", spangc_version());
 *
 * C99 and C++; any thread may call any of it at any time. The environment
 * variables and the command lines are in spangc(7).
 */
#ifndef SPANGC_H
#define SPANGC_H

#include <stddef.h>
#include <stdint.h>

#define SPANGC_VERSION "0.1.0"

/* The library itself defines this as nothing: its own definitions are not weak. */
#ifndef SPANGC_API
#define SPANGC_API __attribute__((__weak__))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library that runs, which need not be the header's SPANGC_VERSION. */
SPANGC_API const char *spangc_version(void);

#define SPANGC_NPAUSES 26               /* 1 us, 2 us, ... 17 s, and more */

/* What the heap is made of. The parts are counted one after the other, not at one instant: with
 * other threads at work they need not add up. Where pages have gone back to the kernel, "resident"
 * is what the library knows; the kernel may have swapped more of it. */
struct spangc_stats {
	/* bytes, now; the first seven add up to heap_bytes */
	uint64_t in_use_bytes;          /* slots and pages that the program holds */
	uint64_t cached_bytes;          /* free slots kept for a thread: magazines and windows */
	uint64_t free_bytes;            /* other free memory that is still resident */
	uint64_t waste_bytes;           /* too short for one more slot */
	uint64_t lazy_bytes;            /* given back by MADV_FREE: resident until the kernel wants it */
	uint64_t released_bytes;        /* given back, no longer resident */
	uint64_t untouched_bytes;       /* never used yet */
	uint64_t heap_bytes;            /* all that is accessible */
	uint64_t peak_bytes;            /* of the heap that was not free, at most so far */
	uint64_t metadata_bytes;        /* the library's own records, beside the heap */

	/* events, since the start of the process, by fork or exec */
	uint64_t madvise_calls;         /* that gave memory back */
	uint64_t madvise_bytes;         /* given back by them; a page counts each time */
	uint64_t madvise_ns;            /* spent in them, by the clock */
	uint64_t reused_bytes;          /* of pages given back and handed out again */

	/* the collector, since then; 0 in other modes than gc */
	uint64_t gc_full_cycles;        /* that read all that lives */
	uint64_t gc_minor_cycles;       /* that read what is new or was written */
	uint64_t gc_failed_cycles;      /* that reclaimed nothing: a thread did not stop, or the like */
	uint64_t gc_fallbacks;          /* to another way of seeing writes */
	uint64_t gc_mark_ns;            /* marking beside the program, by the clock */
	uint64_t gc_sweep_ns;           /* sweeping, by the clock */
	uint64_t gc_cpu_ns;             /* of the thread that collects */
	uint64_t gc_assist_ns;          /* of processor, of threads that allocate and help */
	uint64_t gc_read_bytes;         /* by marking: blocks and roots */
	uint64_t gc_marked_bytes;       /* of slots of blocks found alive, each cycle again */
	uint64_t gc_reclaimed_blocks;
	uint64_t gc_reclaimed_bytes;    /* of their slots */
	uint64_t gc_dirty_pages;        /* of 4 KiB, written during marking and read again */
	uint64_t gc_faults;             /* of writes that were to be seen, as far as known */
	uint64_t gc_pauses;             /* stops of all threads */
	uint64_t gc_pause_ns;           /* of all of them */
	uint64_t gc_pause_max_ns;       /* the longest */
	uint64_t gc_pause_counts[SPANGC_NPAUSES];       /* [i]: shorter than 2^(i + 10) ns, and not
	                                                   counted before; the last one: all others */
};

/* Fills the first `nbytes` of *out: pass sizeof *out. Returns the size of the structure the library
 * knows: a program built with an older or a newer header gets what both have, and what the library
 * does not know is left alone. */
SPANGC_API size_t spangc_stats_get(struct spangc_stats *out, size_t nbytes);

/* As malloc, for a block that will never hold a pointer into the heap (text, pixels, samples): a
 * collector need not read it. free, realloc and the rest take it as any other block; realloc may
 * forget the promise, which costs time and is never wrong. */
SPANGC_API void *spangc_malloc_noscan(size_t nbytes);

/* In mode gc (SPANGC_MODE=gc): collects, and returns when blocks that nothing led to at the call are
 * reclaimed. How many bytes the cycle found; 0 in other modes, and where nothing can be collected. */
SPANGC_API size_t spangc_collect(void);

/* The first of the next does something in mode leaks (SPANGC_MODE=leaks) only, the others in mode gc as
 * well. */

/* Looks for leaks now and writes a report as at exit. Returns the bytes leaked: 0 if there are none
 * (blocks of 0 bytes count as 1 if there is nothing else). */
SPANGC_API size_t spangc_leak_report(void);

/* The block at p, and what it leads to, is no leak; it is counted in no report. p is what malloc
 * returned. realloc forgets. In mode gc it is never reclaimed, nor what it leads to. */
SPANGC_API void spangc_ignore(const void *p);

/* [p, p + nbytes) may hold pointers to blocks, wherever it is; the same range no longer. Static
 * data, stacks and the program's own mappings are looked at anyway. */
SPANGC_API void spangc_add_roots(const void *p, size_t nbytes);
SPANGC_API void spangc_remove_roots(const void *p, size_t nbytes);

#ifdef __cplusplus
}
#endif

#endif
