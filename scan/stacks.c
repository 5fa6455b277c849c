/* stacks.c: allocation stacks in a hash table that only grows.
 *
 * Reached from preload/leaks.c for each allocation of mode leaks, from any thread and from signal
 * handlers: takes no lock, as the unwinder may wait for the loader's. Depends on os.h, and on
 * roots.h at the start.
 *
 * An entry is written, then published by a compare-and-exchange at the head of its bucket's chain,
 * and never changed. Who loses that race looks through what was added meanwhile, so no stack is
 * there twice (the frames written in vain are lost).
 *
 * Invariant: an entry that is in a chain is whole (tests/race/stacks.c).
 */
#include "scan/stacks.h"

#include "core/os.h"
#include "scan/modules.h"
#include "scan/roots.h"

#include <errno.h>
#include <string.h>

#define BUCKETS (UINT32_C(1) << 17)
#define ENTRIES_MAX (UINT32_C(1) << 20)         /* 16 MiB of addresses, touched as they are used */
#define WORDS_MAX (UINT32_C(1) << 24)           /* 128 MiB, the same */
#define WORDS_MIN (UINT32_C(1) << 16)
#define OWN_FRAMES 8                            /* of ours, above the caller's */

struct entry {
	uint32_t next;                          /* in the bucket; 0: the end */
	uint32_t hash;
	uint32_t first;                         /* of its words */
	uint32_t n;
};

static struct {
	/* Constant after stacks_start() and stacks_unwind_with(). */
	_Atomic uint32_t *heads;
	struct entry *entries;
	uintptr_t *words;
	uint32_t nwords_max;
	unsigned depth;
	stacks_unwind_fn *_Atomic unwind;

	/* Any thread, atomic. */
	_Alignas(CACHE_LINE) _Atomic uint32_t nentries;
	_Atomic uint32_t nwords;
	_Atomic uint64_t nlost;
} stacks;

static _Thread_local bool is_unwinding;

static void *map_named(size_t nbytes)
{
	void *p = os_map(nbytes);

	if (!p)
		return NULL;
	os_name((uintptr_t)p, nbytes, "spangc stacks");
	roots_exclude((uintptr_t)p, (uintptr_t)p + nbytes);
	return p;
}

bool stacks_start(unsigned depth)
{
	uint32_t nwords = WORDS_MAX;

	stacks.depth = depth;
	stacks.heads = map_named(BUCKETS * sizeof *stacks.heads);
	stacks.entries = map_named(ENTRIES_MAX * sizeof *stacks.entries);
	while (!(stacks.words = map_named(nwords * sizeof *stacks.words)) && nwords > WORDS_MIN)
		nwords /= 2;
	stacks.nwords_max = nwords;
	/* relaxed: there is one thread. 0 is no stack. */
	atomic_store_explicit(&stacks.nentries, 1, memory_order_relaxed);
	if (stacks.heads && stacks.entries && stacks.words)
		return true;
	stacks.heads = NULL;
	return false;
}

bool stacks_is_unwinding(void)
{
	return is_unwinding;
}

void stacks_unwind_with(stacks_unwind_fn *unwind)
{
	/* release: the unwinder is loaded. Pairs with the acquire in stacks_take(). */
	atomic_store_explicit(&stacks.unwind, unwind, memory_order_release);
}

static uint32_t hash_of(const uintptr_t *pcs, unsigned n)
{
	uint64_t h = n;

	for (unsigned i = 0; i < n; i++)
		h = (h ^ pcs[i]) * UINT64_C(0x9e3779b97f4a7c15), h ^= h >> 29;
	return (uint32_t)(h >> 32);
}

/* In the chain from `e` up to, not including, `end`. */
static uint32_t find(uint32_t e, uint32_t end, uint32_t hash, const uintptr_t *pcs, unsigned n)
{
	for (; e != end && e; e = stacks.entries[e].next) {
		const struct entry *entry = &stacks.entries[e];

		if (entry->hash == hash && entry->n == n
		    && !memcmp(&stacks.words[entry->first], pcs, n * sizeof *pcs))
			return e;
	}
	return STACKS_NONE;
}

/* `n` more of a table; the first, or `max` and more if it is full. */
static uint32_t reserve(_Atomic uint32_t *used, uint32_t n, uint32_t max)
{
	/* relaxed, both: each number once is all there is to it. The first look keeps the count from
	 * wrapping. */
	if (atomic_load_explicit(used, memory_order_relaxed) >= max)
		return max;
	return atomic_fetch_add_explicit(used, n, memory_order_relaxed);
}

/* A new entry that is in no chain yet; 0: the tables are full. */
static uint32_t make(uint32_t hash, const uintptr_t *pcs, unsigned n)
{
	uint32_t first = reserve(&stacks.nwords, n, stacks.nwords_max);
	uint32_t e = ENTRIES_MAX;

	if (first + n <= stacks.nwords_max)
		e = reserve(&stacks.nentries, 1, ENTRIES_MAX);
	if (e >= ENTRIES_MAX) {
		/* relaxed: a figure. */
		atomic_fetch_add_explicit(&stacks.nlost, 1, memory_order_relaxed);
		return STACKS_NONE;
	}
	memcpy(&stacks.words[first], pcs, n * sizeof *pcs);
	stacks.entries[e].hash = hash;
	stacks.entries[e].first = first;
	stacks.entries[e].n = n;
	return e;
}

/* The number of these frames. */
static uint32_t intern(const uintptr_t *pcs, unsigned n)
{
	uint32_t hash = hash_of(pcs, n);
	_Atomic uint32_t *head = &stacks.heads[hash % BUCKETS];
	/* acquire: pairs with the release below: entries in the chain are whole. */
	uint32_t seen = atomic_load_explicit(head, memory_order_acquire);
	uint32_t e = find(seen, STACKS_NONE, hash, pcs, n);

	if (e)
		return e;
	e = make(hash, pcs, n);
	if (!e)
		return STACKS_NONE;
	for (;;) {
		uint32_t before = seen;

		stacks.entries[e].next = seen;
		/* release: the entry is whole before it is in the chain. acquire on failure: as
		 * above. */
		if (atomic_compare_exchange_strong_explicit(head, &seen, e, memory_order_release,
		                                            memory_order_acquire))
			return e;

		uint32_t other = find(seen, before, hash, pcs, n);

		if (other)
			return other;
	}
}

/* `function`, `caller` and what is above, as the unwinder tells. Frames of this size alone: some
 * threads have stacks of 16 KiB, and the unwinder takes its part. */
static SLOW uint32_t take_whole(stacks_unwind_fn *unwind, uintptr_t function, uintptr_t caller)
{
	uintptr_t got[1 + OWN_FRAMES + stacks.depth];
	unsigned n, at = 1;

	is_unwinding = true;
	n = 1 + (unsigned)unwind((void **)&got[1], (int)stacks.depth + OWN_FRAMES);
	is_unwinding = false;
	while (at < n && at <= OWN_FRAMES && got[at] != caller)
		at++;
	if (at >= n || got[at] != caller) {
		at = 1;
		n = 2;
		got[at] = caller;
	}
	n = n - at < stacks.depth ? n - at : stacks.depth;
	while (n > 1 && !got[at + n - 1])       /* the end of a thread's stack */
		n--;
	got[at - 1] = function;
	modules_words(&got[at], n);
	return intern(&got[at - 1], 1 + n);
}

uint32_t stacks_take(const void *function, const void *caller)
{
	/* acquire: pairs with the release in stacks_unwind_with(). */
	stacks_unwind_fn *unwind = atomic_load_explicit(&stacks.unwind, memory_order_acquire);
	uintptr_t pcs[] = { (uintptr_t)function, (uintptr_t)caller };
	int kept = errno;

	if (!stacks.heads)
		return STACKS_NONE;
	if (!unwind || stacks.depth == 1 || is_unwinding) {
		modules_words(&pcs[1], 1);
		return intern(pcs, 2);
	}

	uint32_t stack = take_whole(unwind, pcs[0], pcs[1]);

	errno = kept;
	return stack;
}

unsigned stacks_get(uint32_t stack, const uintptr_t **pcs)
{
	if (!stack || stack >= stacks_count())
		return 0;
	*pcs = &stacks.words[stacks.entries[stack].first];
	return stacks.entries[stack].n;
}

uint32_t stacks_count(void)
{
	/* relaxed: whoever has a number got it from stacks_take(). */
	uint32_t n = atomic_load_explicit(&stacks.nentries, memory_order_relaxed);

	return n < ENTRIES_MAX ? n : ENTRIES_MAX;
}

uint64_t stacks_nlost(void)
{
	/* relaxed: a figure. */
	return atomic_load_explicit(&stacks.nlost, memory_order_relaxed);
}
