/* record.c: the word that describes a block in mode leaks.
 *
 * Reached from preload/leaks.c (when a block is made or resized) and from scan/ (reports). Depends
 * on block.c; takes no lock.
 */
#include "core/record.h"

#include "core/heap.h"
#include "core/hooks.h"
#include "core/os.h"

#define BIRTH_UNIT_MS 250
#define BIRTH_MANTISSA 10                       /* bits */

_Static_assert(SIZECLASS_MAX - RECORD_BYTES <= RECORD_SPARE_MAX, "the spare bytes of any slot fit");
_Static_assert(RECORD_STACK_MAX >> (RECORD_THREAD_SHIFT - RECORD_STACK_SHIFT) == 0,
               "numbers of stacks fit");
_Static_assert(RECORD_THREAD_MANY >> (RECORD_BIRTH_SHIFT - RECORD_THREAD_SHIFT) == 0,
               "numbers of threads fit");

/* Constant after record_start(). */
static uint64_t start_ms;

_Atomic bool record_has_reported;

void record_start(void)
{
	start_ms = os_now_ms();
}

/* Below 1 << BIRTH_MANTISSA the units themselves, then by powers of two, each in as many steps. */
unsigned record_birth_of(uint64_t ms)
{
	uint64_t units = ms / BIRTH_UNIT_MS;

	if (likely(units >> BIRTH_MANTISSA == 0))
		return (unsigned)units;

	unsigned up = 63 - BIRTH_MANTISSA - (unsigned)__builtin_clzll(units);
	uint64_t birth = (units >> up) + ((uint64_t)up << BIRTH_MANTISSA);

	return birth < RECORD_BIRTH_MAX ? (unsigned)birth : RECORD_BIRTH_MAX;
}

uint64_t record_birth_ms(unsigned birth)
{
	unsigned up = birth >> BIRTH_MANTISSA;
	uint64_t units = birth;

	if (up > 1)
		units = (birth - (uint64_t)(up - 1) * (1u << BIRTH_MANTISSA)) << (up - 1);
	return units * BIRTH_UNIT_MS;
}

unsigned record_birth_now(void)
{
	return record_birth_of(os_now_ms() - start_ms);
}

typedef uint64_t __attribute__((may_alias)) stored_word;

static stored_word *word_of(const void *p, const struct block *b)
{
	if (b->class == SIZECLASS_LARGE)
		return &b->span->record.word;
	return (stored_word *)((uintptr_t)p + b->usable);
}

void record_set(const void *p, const struct block *b, struct record r)
{
	size_t spare = b->class == SIZECLASS_LARGE ? 0 : b->usable - r.nbytes;

	*word_of(p, b) = record_word(r) | spare;
	if (b->class == SIZECLASS_LARGE)
		b->span->record.nbytes = r.nbytes;
}

struct record record_get(const void *p, const struct block *b)
{
	uint64_t word = *word_of(p, b);
	size_t spare = word & RECORD_SPARE_MAX;
	struct record r = {
		.nbytes = spare < b->usable ? b->usable - spare : 0,
		.stack = (uint32_t)(word >> RECORD_STACK_SHIFT) & RECORD_STACK_MAX,
		.thread = (uint16_t)(word >> RECORD_THREAD_SHIFT & RECORD_THREAD_MANY),
		.birth = (uint16_t)(word >> RECORD_BIRTH_SHIFT),
		.is_ignored = word & RECORD_IGNORED,
		.is_reported = word & RECORD_REPORTED,
	};

	if (b->class == SIZECLASS_LARGE)
		r.nbytes = b->span->record.nbytes;
	return r;
}

void record_tell_freed(const void *p, const struct block *b)
{
	if (likely(!(*word_of(p, b) & RECORD_REPORTED)) || !hooks.freed_reported)
		return;

	struct record r = record_get(p, b);

	hooks.freed_reported(&r);
}

_Atomic bool record_has_reported;

uint64_t record_raw(const void *p, const struct block *b)
{
	return *word_of(p, b);
}

void record_mark_reported(const void *p, const struct block *b, uint64_t word)
{
	/* relaxed, both: the word is all there is to it, and who frees a block that is reported at this
	 * moment may be before the report. */
	atomic_store_explicit(&record_has_reported, true, memory_order_relaxed);
	__atomic_compare_exchange_n(word_of(p, b), &word, word | RECORD_REPORTED, false, __ATOMIC_RELAXED,
	                            __ATOMIC_RELAXED);
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
