/* sweep.h: a heap whose cycles are the test's own: what has a mark is alive. SEED=n repeats one. */
#ifndef TESTS_UNIT_SWEEP_H
#define TESTS_UNIT_SWEEP_H

#include <criterion/criterion.h>

#include "core/sweep.h"
#include "core/verify.h"
#include "tests/check.h"
#include "tests/core.h"

#define MANY_BYTES MIB(24)

static uint64_t rng;

static inline unsigned below(unsigned n)
{
	return (unsigned)(next_random(&rng) >> 16) % n;
}

static inline void start(void)
{
	core_start_gc();
	rng = seed_from_env();
}

static inline size_t heap_bytes(void)
{
	return atomic_load_explicit(&heap.nbytes, memory_order_relaxed);
}

static inline void set_black(bool is_black)
{
	atomic_store_explicit(&marks.is_black, is_black, memory_order_relaxed);
}

static inline bool is_block(const void *p)
{
	struct block b;

	return block_find(p, &b);
}

static inline class_idx granule(const void *p)
{
	return atomic_load_explicit(heap_granule((uintptr_t)p), memory_order_relaxed);
}

static inline void sweep_all(void)
{
	while (sweep_some(SWEEP_UNIT_BYTES * (1 + below(9))))
		;
	cr_assert(sweep_is_done());
}

/* A cycle that finds nothing but the marks there are. */
static inline void cycle(void)
{
	set_black(true);
	sweep_begin(heap_bytes());
	sweep_all();
	set_black(false);
	sweep_finish();
}

#endif
