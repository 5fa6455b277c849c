/* cache.h: what the tests of threads' caches share: numbered blocks, and a look at granules.
 *
 * Used by tests/unit/{cache,magazine,double_free,cache_threads}.c.
 */
#ifndef TESTS_UNIT_CACHE_H
#define TESTS_UNIT_CACHE_H

#include <criterion/criterion.h>
#include <string.h>

#include "tests/core.h"

#define BYTES 48
#define BIG 256                                 /* MAX of them are 5 MB */
#define MAX 20000

static void *blocks[MAX];

static inline class_idx granule(void *p)
{
	return atomic_load_explicit(heap_granule((uintptr_t)p), memory_order_relaxed);
}

static inline void set_granule(void *p, class_idx c)
{
	atomic_store_explicit(heap_granule((uintptr_t)p), c, memory_order_relaxed);
}

static inline unsigned cap_of(size_t nbytes)
{
	return cache_tls.cache->cap[sizeclass_of_in(heap.classes, nbytes)];
}

static inline size_t slots_of(size_t nbytes)
{
	return magazine_count_slots(cache_tls.cache, sizeclass_of_in(heap.classes, nbytes));
}

/* Allocates blocks[from..limit), each with its number in it. */
static inline void fill(unsigned from, unsigned limit, size_t nbytes)
{
	for (unsigned i = from; i < limit; i++) {
		blocks[i] = cache_alloc(nbytes);
		cr_assert_not_null(blocks[i]);
		memset(blocks[i], 0, nbytes);
		memcpy(blocks[i], &i, nbytes < sizeof i ? nbytes : sizeof i);
	}
}

/* Frees them; a number that is another's means that two blocks were one. */
static inline void drain(unsigned from, unsigned limit)
{
	for (unsigned i = from; i < limit; i++) {
		cr_assert_eq(memcmp(blocks[i], &i, sizeof i), 0, "block %u", i);
		cache_free(blocks[i]);
	}
}

static inline void *free_and_detach(void *p)
{
	cache_free(p);
	cache_detach();
	return NULL;
}

#endif
