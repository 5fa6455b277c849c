/* scavenge.c: which memory goes back to the kernel, and when.
 *
 * Reached from heap.c (scavenge_note()), cold calls (scavenge_act()), preload (malloc_trim, the
 * helper thread). Depends on heap.c, cache.c and central.c. No lock is held during madvise but the
 * idle set's own; pages on their way are taken, so nobody else can have them.
 *
 * A round: spans that idle threads sit on are tidied, then runs of dirty pages older than the
 * delay go back, highest addresses first, because low ones are reused first. With every run goes
 * the part of the granule table that describes it: it is all zero (heap.c, H2).
 *
 * Budget: a helper's round ends when it has used a tenth of its period, so that it never takes
 * more than 10 % of a processor however much was freed at once; 108 MB in 1,071 calls took 7 ms.
 *
 * Invariant: a page is clean only if it was discarded, or never used.
 */
#include "core/scavenge.h"

#include "core/cache.h"
#include "core/central.h"
#include "core/heap.h"
#include "core/hooks.h"
#include "core/knobs.h"
#include "core/live.h"
#include "core/os.h"
#include "core/sigmask.h"
#include "core/verify.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RUN_MAX_PAGES 8192                      /* 64 MiB */
#define PERIOD_MIN_MS 20
#define PERIOD_MAX_MS 250
#define QUIET_ROUNDS 8                          /* then the helper leaves */
#define INLINE_MIN_PAGES 8                      /* with no delay: 64 KiB are worth a call */

enum helper_state { HELPER_NONE, HELPER_WANTED, HELPER_RUNNING, HELPER_STOPPING };

struct scavenge_counts scavenge_counts;
_Atomic bool scavenge_is_due;
_Atomic bool scavenge_is_help_wanted;

static _Atomic uint32_t helper;                 /* enum helper_state; a futex */
static _Atomic uint32_t last_round;             /* heap_now() of the last inline round */

static void count(_Atomic uint64_t *counter, uint64_t n)
{
	/* relaxed: figures for statistics. */
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static bool is_enabled(void)
{
	return knobs.madvise != KNOB_MADVISE_NONE && knobs.release_delay_ms != KNOB_NEVER;
}

static uint32_t delay_ticks(void)
{
	return (uint32_t)(knobs.release_delay_ms / PAGES_TICK_MS);
}

static uint32_t period_ms(void)
{
	uint64_t period = knobs.release_delay_ms / 4;

	if (period < PERIOD_MIN_MS)
		return PERIOD_MIN_MS;
	return period < PERIOD_MAX_MS ? (uint32_t)period : PERIOD_MAX_MS;
}

static page_idx dirty_pages(void)
{
	const struct pages *p = &heap.pages;

	return p->nfree - p->nclean - p->nlazy;
}

/* Bytes above SPANGC_MEMORY_LIMIT that only we could give back. LOCK_PAGES. */
static size_t excess_bytes(void)
{
	size_t resident = ((size_t)(heap.pages.npages - heap.pages.nclean - heap.pages.nlazy)
	                   << PAGE_SHIFT) + meta_bytes();

	return resident > knobs.memory_limit_bytes ? resident - knobs.memory_limit_bytes : 0;
}

static void raise(_Atomic bool *flag)
{
	/* relaxed: late is as good. */
	atomic_store_explicit(flag, true, memory_order_relaxed);
}

static void want_helper(void)
{
	uint32_t none = HELPER_NONE;

	/* relaxed: the state alone counts. */
	if (atomic_load_explicit(&helper, memory_order_relaxed) == HELPER_NONE
	    && atomic_compare_exchange_strong_explicit(&helper, &none, HELPER_WANTED,
	                                               memory_order_relaxed,
	                                               memory_order_relaxed))
		raise(&scavenge_is_help_wanted);
}

/* No helper: the program's own calls do a round every period. */
void scavenge_tick(void)
{
	uint32_t now = heap_now();

	if (!is_enabled())
		return;
	/* relaxed: a duplicate round is harmless. */
	if (now - atomic_load_explicit(&last_round, memory_order_relaxed)
	    < period_ms() / PAGES_TICK_MS)
		return;
	atomic_store_explicit(&last_round, now, memory_order_relaxed);
	raise(&scavenge_is_due);
}

static bool may_help(void)
{
	return is_enabled() && knobs.release_delay_ms && knobs.background != KNOB_BACKGROUND_OFF;
}

void scavenge_expect(size_t nbytes)
{
	if (nbytes >= SCAVENGE_HELPER_BYTES && may_help())
		want_helper();
}

void scavenge_note(void)
{
	page_idx dirty = dirty_pages();

	if (!is_enabled() || dirty < INLINE_MIN_PAGES)
		return;
	if (knobs.release_delay_ms == 0 || excess_bytes())
		raise(&scavenge_is_due);
	else if (knobs.background == KNOB_BACKGROUND_OFF)
		scavenge_tick();
	else
		scavenge_expect((size_t)dirty << PAGE_SHIFT);
}

/* One of os.h's calls, counted. True: done. */
static bool call(int (*discard)(uintptr_t, size_t), uintptr_t addr, size_t nbytes)
{
	uint64_t start = os_now_ns();
	int error = discard(addr, nbytes);

	count(&live.madvise_ns, os_now_ns() - start);
	count(&live.madvise_calls, 1);
	return !error;
}

/* MADV_FREE where asked for and possible, else MADV_DONTNEED. What the range is afterwards. */
static enum pages_kind advise(uintptr_t addr, size_t nbytes)
{
	if (knobs.madvise == KNOB_MADVISE_FREE && call(os_discard_lazily, addr, nbytes)) {
		count(&scavenge_counts.nlazy, 1);
		count(&live.lazy_bytes, nbytes);
		return PAGES_LAZY;
	}
	if (call(os_discard, addr, nbytes)) {
		count(&scavenge_counts.ndiscards, 1);
		count(&live.released_bytes, nbytes);
		return PAGES_CLEAN;
	}
	count(&scavenge_counts.nfailed, 1);
	return PAGES_DIRTY;
}

/* The whole os pages of the granules of these pages. They are zero, so discarding changes
 * nothing but memory in use. */
static void discard_granules(page_idx first, page_idx npages)
{
	uintptr_t table = (uintptr_t)heap.granules;
	uintptr_t from = table + (((uintptr_t)first << PAGE_SHIFT) >> heap.granule_shift);
	uintptr_t to = table + (((uintptr_t)(first + npages) << PAGE_SHIFT) >> heap.granule_shift);

	from = align_up(from, OS_PAGE_BYTES);
	to = align_down(to, OS_PAGE_BYTES);
	if (from >= to || !call(os_discard, from, to - from))
		return;
	count(&scavenge_counts.ntable_discards, 1);
	count(&live.table_bytes, to - from);
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
		enum pages_kind kind = advise(heap_address(first), run_bytes);

		if (kind != PAGES_DIRTY)
			discard_granules(first, npages);
		give_back(first, npages, kind);
		if (kind == PAGES_DIRTY)
			break;
		nbytes += run_bytes;
	}
	count(&scavenge_counts.cpu_us, os_thread_cpu_us() - start);
	return nbytes;
}

static size_t release(uint32_t cutoff, size_t max_bytes, uint64_t budget_us)
{
	size_t nbytes = 0;

	count(&scavenge_counts.nrounds, 1);
	if (unlikely(knobs.verify))
		verify_all();
	if (knobs.thp == KNOB_THP_ALWAYS)
		nbytes = release_runs(cutoff, true, max_bytes, budget_us);
	if (nbytes < max_bytes)
		nbytes += release_runs(cutoff, false, max_bytes - nbytes, budget_us);
	return nbytes;
}

/* The os pages of free slots [from, to). */
static size_t trim_slots(const struct span *s, unsigned from, unsigned to)
{
	uintptr_t begin = align_up((uintptr_t)span_slot_address(s, from), OS_PAGE_BYTES);
	uintptr_t end = (uintptr_t)span_slot_address(s, to);

	if (to == s->nslots)
		end = s->base + ((size_t)s->npages << PAGE_SHIFT);
	end = align_down(end, OS_PAGE_BYTES);
	return begin < end && advise(begin, end - begin) != PAGES_DIRTY ? end - begin : 0;
}

static bool is_free_slot(const struct span *s, unsigned slot)
{
	return s->free[slot / 64] >> slot % 64 & 1;
}

size_t scavenge_span(struct span *s)
{
	size_t nbytes = 0;

	/* Nothing new since last time, or slots were taken again and touched their pages. */
	if (knobs.madvise == KNOB_MADVISE_NONE || s->nfree == s->nfree_trimmed)
		return 0;
	for (unsigned from = 0, to; from < s->nslots; from = to + 1) {
		for (to = from; to < s->nslots && is_free_slot(s, to); to++)
			;
		if (to > from)
			nbytes += trim_slots(s, from, to);
	}
	s->nfree_trimmed = s->nfree;
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
	if (!order->is_forced && order->now - set->idle_since < delay_ticks()) {
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
	cache_empty_depot(k);
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

static void round_inline(void)
{
	struct sigmask saved;

	heap_enter(&saved);

	size_t excess = excess_bytes();

	heap_leave(&saved);
	tidy(excess > 0);
	if (excess || knobs.release_delay_ms == 0) {
		release(heap_now() + 1, excess ? excess : SIZE_MAX, UINT64_MAX);
		return;
	}
	release(heap_now() - delay_ticks(), SIZE_MAX, period_ms() * 1000 / 100);
}

void scavenge_poll_due(void)
{
	/* relaxed, both: late is as good; an exchange so that one thread acts. */
	if (unlikely(atomic_load_explicit(&scavenge_is_due, memory_order_relaxed))
	    && atomic_exchange_explicit(&scavenge_is_due, false, memory_order_relaxed))
		round_inline();
}

void scavenge_act(const void *caller)
{
	scavenge_poll_due();
	/* relaxed, both: as above. */
	if (atomic_load_explicit(&scavenge_is_help_wanted, memory_order_relaxed)
	    && atomic_exchange_explicit(&scavenge_is_help_wanted, false, memory_order_relaxed)
	    && hooks.start_helper && !hooks.start_helper(caller))
		raise(&scavenge_is_help_wanted);
}

static void futex(_Atomic uint32_t *word, int op, uint32_t value, const struct timespec *t)
{
	int kept = errno;

	syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, t, NULL, 0);
	errno = kept;
}

static bool is_asked_to_stop(void)
{
	/* acquire: pairs with the exchange in scavenge_stop_helper(). */
	return atomic_load_explicit(&helper, memory_order_acquire) == HELPER_STOPPING;
}

static void sleep_a_period(void)
{
	struct timespec t = { .tv_nsec = (long)period_ms() * 1000000 };

	futex(&helper, FUTEX_WAIT, HELPER_RUNNING, &t);
}

static bool is_little_left(void)
{
	struct sigmask saved;

	heap_enter(&saved);

	bool is_little = (size_t)dirty_pages() << PAGE_SHIFT < SCAVENGE_HELPER_BYTES;

	heap_leave(&saved);
	return is_little;
}

void scavenge_help(void)
{
	uint32_t wanted = HELPER_WANTED;
	uint32_t nquiet = 0, enough = (uint32_t)(knobs.release_delay_ms / period_ms()) + QUIET_ROUNDS;

	count(&scavenge_counts.nhelpers, 1);
	/* relaxed: the state alone counts. */
	atomic_compare_exchange_strong_explicit(&helper, &wanted, HELPER_RUNNING,
	                                        memory_order_relaxed, memory_order_relaxed);
	while (nquiet < enough && !is_asked_to_stop()) {
		size_t nbytes = tidy(false) + release(heap_now() - delay_ticks(), SIZE_MAX,
		                                      period_ms() * 1000 / 10);

		nquiet = nbytes || !is_little_left() ? 0 : nquiet + 1;
		sleep_a_period();
	}
	/* release: pairs with the acquire in scavenge_stop_helper(). */
	atomic_store_explicit(&helper, HELPER_NONE, memory_order_release);
	futex(&helper, FUTEX_WAKE, INT32_MAX, NULL);
}

void scavenge_helper_failed(void)
{
	/* relaxed: nobody waits for a helper that was only wanted. */
	atomic_store_explicit(&helper, HELPER_NONE, memory_order_relaxed);
}

void scavenge_stop_helper(void)
{
	uint32_t running = HELPER_RUNNING, wanted = HELPER_WANTED, state;

	/* Running, or created and not so far. release: pairs with the acquire in
	 * is_asked_to_stop(). */
	if (atomic_compare_exchange_strong_explicit(&helper, &running, HELPER_STOPPING,
	                                            memory_order_release, memory_order_relaxed)
	    || atomic_compare_exchange_strong_explicit(&helper, &wanted, HELPER_STOPPING,
	                                               memory_order_release,
	                                               memory_order_relaxed))
		futex(&helper, FUTEX_WAKE, INT32_MAX, NULL);
	/* acquire: what the helper did is done. */
	while ((state = atomic_load_explicit(&helper, memory_order_acquire)) == HELPER_STOPPING)
		futex(&helper, FUTEX_WAIT, state, NULL);
}

void scavenge_fork_child(void)
{
	memset(&scavenge_counts, 0, sizeof scavenge_counts);
	live_fork_child();
	/* relaxed: one thread. */
	atomic_store_explicit(&helper, HELPER_NONE, memory_order_relaxed);
	atomic_store_explicit(&scavenge_is_help_wanted, false, memory_order_relaxed);
}
