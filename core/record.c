/* record.c: the word that describes a block in mode leaks.
 *
 * Reached from preload/leaks.c (when a block is made or resized) and from scan/ (reports). Depends
 * on block.c; takes no lock.
 */
#include "core/record.h"

#include "core/heap.h"

#define SPARE_MAX 0x7fffu
#define IGNORED (UINT64_C(1) << 15)
#define STACK_SHIFT 16

_Static_assert(SIZECLASS_MAX - RECORD_BYTES <= SPARE_MAX, "the spare bytes of any slot fit");

typedef uint64_t __attribute__((may_alias)) record_word;

static record_word *word_of(const void *p, const struct block *b)
{
	if (b->class == SIZECLASS_LARGE)
		return &b->span->record.word;
	return (record_word *)((uintptr_t)p + b->usable);
}

void record_set(const void *p, const struct block *b, struct record r)
{
	size_t spare = b->class == SIZECLASS_LARGE ? 0 : b->usable - r.nbytes;

	*word_of(p, b) = (uint64_t)r.stack << STACK_SHIFT | (r.is_ignored ? IGNORED : 0) | spare;
	if (b->class == SIZECLASS_LARGE)
		b->span->record.nbytes = r.nbytes;
}

struct record record_get(const void *p, const struct block *b)
{
	uint64_t word = *word_of(p, b);
	size_t spare = word & SPARE_MAX;
	struct record r = {
		.nbytes = spare < b->usable ? b->usable - spare : 0,
		.stack = (uint32_t)(word >> STACK_SHIFT) & RECORD_STACK_MAX,
		.is_ignored = word & IGNORED,
	};

	if (b->class == SIZECLASS_LARGE)
		r.nbytes = b->span->record.nbytes;
	return r;
}

typedef uint64_t __attribute__((may_alias)) granule_word;

static void visit_granules(size_t first, void (*fn)(const void *p, const struct block *b, void *arg),
                           void *arg)
{
	for (size_t g = first; g < first + sizeof(granule_word); g++) {
		const void *p = (const void *)(heap.base + (g << heap.granule_shift));
		struct block b;

		if (block_find(p, &b))
			fn(p, &b, arg);
	}
}

void record_visit_blocks(void (*fn)(const void *p, const struct block *b, void *arg), void *arg)
{
	/* relaxed: nobody makes the heap grow meanwhile. */
	size_t nbytes = atomic_load_explicit(&heap.nbytes, memory_order_relaxed);
	size_t ngranules = nbytes >> heap.granule_shift;

	for (size_t g = 0; g < ngranules; g += sizeof(granule_word)) {
		if (*(const granule_word *)(uintptr_t)&heap.granules[g])
			visit_granules(g, fn, arg);
	}
}
