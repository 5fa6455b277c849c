/* sample.h: which allocations are samples, and what a sample stands for.
 *
 * Each byte that a thread allocates is a point with probability 1/rate, independently; a block with a
 * point or more in it is a sample. A block of n bytes is one with probability 1 - exp(-n/rate); so
 * each sample stands for 1 / (1 - exp(-n/rate)) blocks of its size, and sums of these are unbiased
 * estimates, whatever the pattern of sizes is.
 */
#ifndef SCAN_SAMPLE_H
#define SCAN_SAMPLE_H

#include "core/base.h"

/* One point in `rate` > 0 bytes; `seed` for what is random about it. ctx: init */
void sample_start(uint64_t rate, uint64_t seed);

/* Of the calling thread: bytes to the next point. 0: not known yet. */
extern _Thread_local int64_t sample_ahead;

/* ctx: alloc */
SLOW bool sample_takes_slow(size_t nbytes);

/* Is this allocation a sample? 0 bytes count as one. ctx: alloc. No lock, one branch */
HOT bool sample_takes(size_t nbytes)
{
	int64_t ahead = sample_ahead - (int64_t)nbytes - !nbytes;

	if (unlikely(ahead <= 0))
		return sample_takes_slow(nbytes);
	sample_ahead = ahead;
	return false;
}

/* How many blocks a sample of nbytes stands for; 1 if all blocks have stacks. ctx: any */
double sample_weight(size_t nbytes);

/* Bytes for a point; 0: all blocks have stacks, or none. ctx: any */
uint64_t sample_rate(void);

#endif
