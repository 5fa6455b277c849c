/* pauses.h: how long the collector's stops were: a histogram, four steps to an octave.
 *
 * Counted by the thread that stops the others, read by any.
 */
#ifndef SCAN_PAUSES_H
#define SCAN_PAUSES_H

#include "core/base.h"

#define PAUSES_FIRST_BITS 10                    /* the first bucket: less than 2^10 ns */
#define PAUSES_LAST_BITS 34                     /* the last one: 2^34 ns, 17 s, and more */
#define PAUSES_STEPS 4                          /* to an octave */
#define PAUSES_NBUCKETS ((PAUSES_LAST_BITS - PAUSES_FIRST_BITS) * PAUSES_STEPS + 2)

struct pauses {
	uint64_t n, sum_ns, max_ns;
	uint64_t counts[PAUSES_NBUCKETS];
};

/* ctx: any, signal; lock-free */
void pauses_note(uint64_t ns);

/* Those that are counted meanwhile may be missing in some fields. ctx: any */
void pauses_get(struct pauses *out);

/* Bucket i has what is shorter than this and not shorter than bucket i - 1 says; the last one ends
 * nowhere: UINT64_MAX. ctx: any */
uint64_t pauses_bucket_ns(unsigned i);

/* That many of 1000 were shorter: a bucket's end, but never above max_ns. 0: there was none. ctx: any */
uint64_t pauses_quantile_ns(const struct pauses *p, unsigned permille);

/* Of the parent none count. ctx: fork child */
void pauses_fork_child(void);

#endif
