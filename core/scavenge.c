/* scavenge.c: which free memory goes back to the kernel, and when.
 *
 * Reached from heap.c (scavenge_note()), cold calls (scavenge_act()), preload (malloc_trim) and the
 * helper thread (scavenge_help()). Depends on heap.c, cache.c, central.c, delay.c, limit.c,
 * helper.c and discard.c. No lock is held during madvise but the idle set's own; pages on their way
 * are taken, so nobody else can have them.
 *
 * A round: spans that idle threads sit on are tidied, then runs of dirty pages older than the
 * delay go back, highest addresses first, because low ones are reused first. With every run goes
 * the part of the granule table that describes it: no block is there (heap.c, H2).
 *
 * Invariant: a page is clean only if it was discarded, or never used.
 */
#include "core/scavenge.h"

#include "core/cache.h"
#include "core/central.h"
#include "core/delay.h"
#include "core/discard.h"
#include "core/heap.h"
#include "core/knobs.h"
#include "core/limit.h"
#include "core/live.h"
#include "core/magazine.h"
#include "core/os.h"
#include "core/sigmask.h"
#include "core/verify.h"

#include <string.h>

#define RUN_MAX_PAGES 8192                      /* 64 MiB */
#define PERIOD_MIN_MS 20
#define PERIOD_MAX_MS 250
#define QUIET_ROUNDS 8                          /* then the helper leaves */
#define INLINE_MIN_PAGES 8                      /* with no delay: 64 KiB are worth a call */

struct scavenge_counts scavenge_counts;
_Atomic bool scavenge_is_due;

static _Atomic uint32_t last_round;             /* heap_now() of the last inline round */

static uint32_t ticks(uint64_t ms)
{
	return (uint32_t)(ms / PAGES_TICK_MS);
}

static uint32_t period_ms(void)
{
	uint64_t period = delay_ms() / 4;

	if (period < PERIOD_MIN_MS)
		return PERIOD_MIN_MS;
	return period < PERIOD_MAX_MS ? (uint32_t)period : PERIOD_MAX_MS;
}

/* Above the limit, and something can be done about it. LOCK_PAGES. */
static bool is_over_limit(void)
{
	return limit_excess_bytes()
	       && (pages_ndirty(&heap.pages) >= INLINE_MIN_PAGES || limit_may_search());
}

static void raise_due(void)
{
	/* relaxed: late is as good. */
	atomic_store_explicit(&scavenge_is_due, true, memory_order_relaxed);
}

/* No helper: the program's own calls do a round every period. */
void scavenge_tick(void)
{
	uint32_t now = heap_now();

	if (!delay_ends())
		return;
	/* relaxed: a duplicate round is harmless. */
	if (now - atomic_load_explicit(&last_round, memory_order_relaxed)
	    < period_ms() / PAGES_TICK_MS)
		return;
	atomic_store_explicit(&last_round, now, memory_order_relaxed);
	raise_due();
}

void scavenge_note(void)
{
	page_idx dirty = pages_ndirty(&heap.pages);

	if (knobs.memory_limit_bytes != KNOB_OFF && is_over_limit())
		raise_due();
	if (!delay_ends() || dirty < INLINE_MIN_PAGES)
		return;
	if (knobs.release_delay_ms == 0)
		raise_due();
	else if (knobs.background == KNOB_BACKGROUND_OFF)
		scavenge_tick();
	else
		helper_expect((size_t)dirty << PAGE_SHIFT);
}

static page_idx take_run(uint32_t cutoff, bool want_huge, page_idx *cursor, page_idx *npages)
{
	struct sigmask saved;

	heap_enter(&saved);

	page_idx first = pages_take_dirty(&heap.pages, cutoff, RUN_MAX_PAGES, want_huge, cursor,
	                                  npages);

	heap_leave(&saved);
	return first;
}

static void give_back(page_idx first, page_idx npages, enum pages_kind kind)
{
	struct sigmask saved;

	heap_enter(&saved);
	pages_free(&heap.pages, first, npages, kind, heap_now());
	heap_leave(&saved);
}

/* One walk over the dirty pages. Ends early when `budget_us` of CPU time are spent or
 * `max_bytes` given back. */
static size_t release_runs(uint32_t cutoff, bool want_huge, size_t max_bytes, uint64_t budget_us)
{
	uint64_t start = os_thread_cpu_us();
	page_idx cursor = PAGE_NONE, npages;
	size_t nbytes = 0;

	while (cursor && nbytes < max_bytes && os_thread_cpu_us() - start < budget_us) {
		page_idx first = take_run(cutoff, want_huge, &cursor, &npages);

		if (first == PAGE_NONE)
			continue;

		size_t run_bytes = (size_t)npages << PAGE_SHIFT;
		enum pages_kind kind = discard_range(heap_address(first), run_bytes);

		if (kind != PAGES_DIRTY)
			discard_granules(first, npages);
		give_back(first, npages, kind);
		if (kind == PAGES_DIRTY)
			break;
		nbytes += run_bytes;
	}
	count_add(&scavenge_counts.cpu_us, os_thread_cpu_us() - start);
	return nbytes;
}

static size_t release(uint32_t cutoff, size_t max_bytes, uint64_t budget_us)
{
	size_t nbytes = 0;

	count_add(&scavenge_counts.nrounds, 1);
	if (unlikely(knobs.verify))
		verify_all();
	if (knobs.thp == KNOB_THP_ALWAYS)
		nbytes = release_runs(cutoff, true, max_bytes, budget_us);
	if (nbytes < max_bytes)
		nbytes += release_runs(cutoff, false, max_bytes - nbytes, budget_us);
	return nbytes;
}

struct tidy_order {
	uint32_t now;
	bool     is_forced;
	size_t   nbytes;
};

static void tidy_cache(struct cache *k, void *arg)
{
	struct tidy_order *order = arg;
	struct spanset *set = &k->spans;

	if (set->nuses != set->nuses_seen) {
		set->nuses_seen = set->nuses;
		set->idle_since = order->now;
		set->is_tidy = false;
	}
	if (!order->is_forced && order->now - set->idle_since < ticks(delay_idle_ms())) {
		spanset_harvest(set);
		/* What was vacant all the time since the last round is not needed. */
		spanset_give_vacant(set, set->npages_vacant_low);
		set->npages_vacant_low = set->npages_vacant;
		return;
	}
	/* relaxed: news missed here are found next time. */
	if (set->is_tidy && !atomic_load_explicit(&set->news, memory_order_relaxed))
		return;
	/* What an idle thread sat on has been free for as long as it is idle. */
	set->is_aged = true;
	magazine_empty_depot(k);
	order->nbytes += spanset_tidy(set, true);
	set->is_aged = false;
	set->is_tidy = true;
}

static size_t tidy(bool is_forced)
{
	struct tidy_order order = { .now = heap_now(), .is_forced = is_forced };

	cache_visit(tidy_cache, &order);
	return order.nbytes + central_tidy(true);
}

size_t scavenge_all(void)
{
	/* Twice: news may be passed on to an owner that was tidied before. */
	size_t nbytes = tidy(true) + tidy(true);

	if (knobs.madvise != KNOB_MADVISE_NONE)
		nbytes += release(heap_now() + 1, SIZE_MAX, UINT64_MAX);
	return nbytes;
}

/* 0: below the limit, or `for_search` and that is not worth it. */
static size_t read_excess(bool for_search)
{
	struct sigmask saved;

	heap_enter(&saved);

	size_t excess = !for_search || limit_may_search() ? limit_excess_bytes() : 0;

	heap_leave(&saved);
	return excess;
}

static void note_search(size_t nbytes, uint64_t cpu_us)
{
	struct sigmask saved;

	heap_enter(&saved);
	limit_note_search(nbytes, cpu_us);
	heap_leave(&saved);
}

/* Above the limit: free pages go until it is below; if they are not enough, what is free in
 * threads and inside spans. */
static size_t relieve(size_t excess)
{
	size_t nbytes = release(heap_now() + 1, excess, UINT64_MAX);

	if (!read_excess(true))
		return nbytes;

	uint64_t start = os_thread_cpu_us();
	size_t nfound = tidy(true);

	excess = read_excess(false);
	if (excess)
		nfound += release(heap_now() + 1, excess, UINT64_MAX);
	note_search(nfound, os_thread_cpu_us() - start);
	return nbytes + nfound;
}

static void adapt(void)
{
	struct sigmask saved;

	heap_enter(&saved);
	/* relaxed: LOCK_PAGES is held by who writes it. */
	delay_adapt(os_now_ms(), atomic_load_explicit(&live.reused_released_bytes,
	                                              memory_order_relaxed));
	heap_leave(&saved);
}

static size_t round_due(uint64_t budget_us)
{
	size_t excess = read_excess(false);
	size_t nbytes = excess ? relieve(excess) : 0;

	if (!delay_ends())
		return nbytes;
	adapt();
	nbytes += tidy(false);
	if (knobs.release_delay_ms == 0)
		return nbytes + release(heap_now() + 1, SIZE_MAX, UINT64_MAX);
	return nbytes + release(heap_now() - ticks(delay_ms()), SIZE_MAX, budget_us);
}

void scavenge_poll_due(void)
{
	/* relaxed, both: late is as good; an exchange so that one thread acts. */
	if (unlikely(atomic_load_explicit(&scavenge_is_due, memory_order_relaxed))
	    && atomic_exchange_explicit(&scavenge_is_due, false, memory_order_relaxed))
		round_due(period_ms() * 1000 / 100);
}

void scavenge_stand_in(void)
{
	/* relaxed: late is as good. */
	if (atomic_load_explicit(&helper_is_wanted, memory_order_relaxed))
		round_due(HELPER_CREDIT_MAX_US);
}

void scavenge_act(const void *caller)
{
	scavenge_poll_due();
	helper_start(caller);
}

static bool has_much_dirty(void)
{
	struct sigmask saved;

	heap_enter(&saved);

	bool is_much = (size_t)pages_ndirty(&heap.pages) << PAGE_SHIFT >= HELPER_BYTES;

	heap_leave(&saved);
	return is_much;
}

void scavenge_help(void)
{
	uint32_t nquiet = 0;
	uint64_t credit_us = HELPER_CREDIT_MAX_US;

	helper_begin();
	while (nquiet < delay_idle_ms() / period_ms() + QUIET_ROUNDS && !helper_is_stopping()) {
		uint64_t start = os_thread_cpu_us();
		size_t nbytes = round_due(credit_us);
		bool is_much_dirty = has_much_dirty();
		/* What is loose in threads at work does not go soon. */
		bool is_soon = is_much_dirty || !helper_has_much_loose();
		uint32_t ms = is_soon ? period_ms() : PERIOD_MAX_MS;

		nquiet = nbytes || is_much_dirty || helper_has_much_loose() ? 0 : nquiet + 1;
		helper_sleep(ms);
		credit_us = helper_credit_left(credit_us, os_thread_cpu_us() - start, ms);
	}
	helper_end();
}

void scavenge_fork_child(void)
{
	memset(&scavenge_counts, 0, sizeof scavenge_counts);
	discard_fork_child();
	live_fork_child();
	helper_fork_child();
}
