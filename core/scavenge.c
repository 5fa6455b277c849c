/* scavenge.c: which memory goes back to the kernel, and when.
 *
 * Reached from heap.c (scavenge_note()), spanset.c and depot.c (scavenge_note_loose()), cold calls
 * (scavenge_act()), preload (malloc_trim, the helper thread). Depends on heap.c, cache.c, central.c
 * and delay.c. No lock is held during madvise but the
 * idle set's own; pages on their way are taken, so nobody else can have them.
 *
 * A round: spans that idle threads sit on are tidied, then runs of dirty pages older than the
 * delay go back, highest addresses first, because low ones are reused first. With every run goes
 * the part of the granule table that describes it: it is all zero (heap.c, H2).
 *
 * Budget: a helper uses a tenth of a processor at most, however much was freed at once, and up to
 * 0.1 s that it has saved: 900 MiB freed at once took 55 ms of madvise, and 0.6 s to go while a
 * round's tenth could not be saved.
 *
 * Invariant: a page is clean only if it was discarded, or never used.
 */
#include "core/scavenge.h"

#include "core/cache.h"
#include "core/central.h"
#include "core/delay.h"
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
#define STRAINED_PART 64                        /* of the limit: so much more is something new */
#define STRAINED_GROWTH 16                      /* and such a part of the heap, if that was no use */
#define INLINE_MIN_PAGES 8                      /* with no delay: 64 KiB are worth a call */
#define LOOSE_STEP_BYTES KIB(256)
#define CREDIT_PERCENT 10                       /* of a processor for the helper */
#define CREDIT_MAX_US 100000

enum helper_state { HELPER_NONE, HELPER_WANTED, HELPER_RUNNING, HELPER_STOPPING };

struct scavenge_counts scavenge_counts;
_Atomic bool scavenge_is_due;
_Atomic bool scavenge_is_help_wanted;

/* When a program stays above its limit whatever we do, the next round waits for one of these.
 * LOCK_PAGES. */
static struct {
	size_t   next_bytes;
	uint64_t next_ms;
} strained;

static _Atomic size_t loose_bytes;              /* see scavenge_note_loose() */
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

static page_idx dirty_pages(void)
{
	const struct pages *p = &heap.pages;

	return p->nfree - p->nclean - p->nlazy;
}

/* What the kernel holds for us, as far as we know. LOCK_PAGES. */
static size_t resident_bytes(void)
{
	size_t nbytes = ((size_t)(heap.pages.npages - heap.pages.nclean - heap.pages.nlazy)
	                 << PAGE_SHIFT) + meta_bytes();
	/* relaxed: an estimate. */
	size_t trimmed = atomic_load_explicit(&live.trimmed_bytes,
	                                      memory_order_relaxed);

	return nbytes > trimmed ? nbytes - trimmed : 0;
}

/* Bytes above SPANGC_MEMORY_LIMIT that only we could give back. LOCK_PAGES. */
static size_t excess_bytes(void)
{
	size_t resident = resident_bytes();

	if (knobs.madvise == KNOB_MADVISE_NONE || resident <= knobs.memory_limit_bytes)
		return 0;
	return resident - knobs.memory_limit_bytes;
}

/* Is a search of all spans worth it? If the heap has grown since the last one, or that took 1 % of
 * the time that went by since. LOCK_PAGES. */
static bool may_search(void)
{
	return resident_bytes() >= strained.next_bytes || os_now_ms() >= strained.next_ms;
}

/* Above the limit, and something can be done about it. LOCK_PAGES. */
static bool is_over_limit(void)
{
	return excess_bytes() && (dirty_pages() >= INLINE_MIN_PAGES || may_search());
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

void scavenge_note_loose(size_t from, size_t to)
{
	size_t change = to / LOOSE_STEP_BYTES - from / LOOSE_STEP_BYTES;

	if (likely(!change))
		return;
	change *= LOOSE_STEP_BYTES;             /* modulo 2^64: it may be negative */
	/* relaxed: a hint. */
	size_t all = atomic_fetch_add_explicit(&loose_bytes, change, memory_order_relaxed) + change;

	if (to > from)
		scavenge_expect(all);
}

void scavenge_note(void)
{
	page_idx dirty = dirty_pages();

	if (knobs.memory_limit_bytes != KNOB_OFF && is_over_limit())
		raise(&scavenge_is_due);
	if (!is_enabled() || dirty < INLINE_MIN_PAGES)
		return;
	if (knobs.release_delay_ms == 0)
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

/* The os pages that free slots [from, to) cover, as ones. */
static uint64_t covered(const struct span *s, unsigned from, unsigned to)
{
	uintptr_t begin = align_up((uintptr_t)span_slot_address(s, from), OS_PAGE_BYTES);
	uintptr_t end = (uintptr_t)span_slot_address(s, to);

	if (to == s->nslots)
		end = s->base + ((size_t)s->npages << PAGE_SHIFT);
	if (begin >= align_down(end, OS_PAGE_BYTES))
		return 0;
	return bit_range((unsigned)((begin - s->base) / OS_PAGE_BYTES),
	                 (unsigned)((end - begin) / OS_PAGE_BYTES));
}

static bool is_free_slot(const struct span *s, unsigned slot)
{
	return s->free[slot / 64] >> slot % 64 & 1;
}

/* Os pages of the span that hold no allocated slot, as ones. */
static uint64_t vacant_os_pages(const struct span *s)
{
	uint64_t pages = 0;

	for (unsigned from = 0, to; from < s->nslots; from = to + 1) {
		for (to = from; to < s->nslots && is_free_slot(s, to); to++)
			;
		if (to > from)
			pages |= covered(s, from, to);
	}
	return pages;
}

/* Returns those that the kernel took. */
static uint64_t advise_os_pages(const struct span *s, uint64_t pages)
{
	uint64_t done = 0;

	while (pages) {
		unsigned first = bit_first(pages), n = 1;

		while (first + n < 64 && pages >> (first + n) & 1)
			n++;
		if (advise(s->base + first * OS_PAGE_BYTES, n * OS_PAGE_BYTES) != PAGES_DIRTY)
			done |= bit_range(first, n);
		pages &= ~bit_range(first, n);
	}
	return done;
}

static void note_trimmed(struct span *s, uint64_t pages)
{
	/* It may wrap on the way down from a partial sum. */
	count(&live.trimmed_bytes,
	      (uint64_t)OS_PAGE_BYTES * (bit_count(pages) - (uint64_t)bit_count(s->trimmed)));
	s->trimmed = pages;
}

void scavenge_untrim(struct span *s)
{
	if (s->trimmed)
		note_trimmed(s, 0);
}

size_t scavenge_span(struct span *s)
{
	/* Nothing new since last time. */
	if (knobs.madvise == KNOB_MADVISE_NONE || s->nfree == s->nfree_trimmed)
		return 0;

	uint64_t done = advise_os_pages(s, vacant_os_pages(s) & ~s->trimmed);

	s->nfree_trimmed = s->nfree;
	if (s->place == SPAN_PARTIAL)
		note_trimmed(s, s->trimmed | done);
	return bit_count(done) * OS_PAGE_BYTES;
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

/* 0: below the limit, or `for_search` and that is not worth it. */
static size_t read_excess(bool for_search)
{
	struct sigmask saved;

	heap_enter(&saved);

	size_t excess = !for_search || may_search() ? excess_bytes() : 0;

	heap_leave(&saved);
	return excess;
}

/* A round that did not help much is not repeated before the heap has grown by a part of itself: so
 * all rounds of a heap that outgrows its limit together take time in proportion to its size. */
static void note_strain(size_t nbytes, uint64_t cpu_us)
{
	size_t step = knobs.memory_limit_bytes / STRAINED_PART;
	struct sigmask saved;

	heap_enter(&saved);

	size_t resident = resident_bytes();

	if (nbytes < step && step < resident / STRAINED_GROWTH)
		step = resident / STRAINED_GROWTH;
	strained.next_bytes = resident + step;
	strained.next_ms = os_now_ms() + 1 + cpu_us / 10;
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
	note_strain(nfound, os_thread_cpu_us() - start);
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

	if (!is_enabled())
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

static void sleep_for(uint32_t ms)
{
	struct timespec t = { .tv_nsec = (long)ms * 1000000 };

	futex(&helper, FUTEX_WAIT, HELPER_RUNNING, &t);
}

static bool has_much_dirty(void)
{
	struct sigmask saved;

	heap_enter(&saved);

	bool is_much = (size_t)dirty_pages() << PAGE_SHIFT >= SCAVENGE_HELPER_BYTES;

	heap_leave(&saved);
	return is_much;
}

static bool has_much_loose(void)
{
	/* relaxed: late is as good. */
	return atomic_load_explicit(&loose_bytes, memory_order_relaxed) >= SCAVENGE_HELPER_BYTES;
}

/* After a round that used so much and a sleep. */
static uint64_t credit_left(uint64_t credit_us, uint64_t used_us, uint32_t slept_ms)
{
	credit_us -= used_us < credit_us ? used_us : credit_us;
	credit_us += slept_ms * (uint64_t)(1000 * CREDIT_PERCENT / 100);
	return credit_us < CREDIT_MAX_US ? credit_us : CREDIT_MAX_US;
}

void scavenge_help(void)
{
	uint32_t wanted = HELPER_WANTED;
	uint32_t nquiet = 0;
	uint64_t credit_us = CREDIT_MAX_US;

	count(&scavenge_counts.nhelpers, 1);
	/* relaxed: the state alone counts. */
	atomic_compare_exchange_strong_explicit(&helper, &wanted, HELPER_RUNNING,
	                                        memory_order_relaxed, memory_order_relaxed);
	while (nquiet < delay_idle_ms() / period_ms() + QUIET_ROUNDS && !is_asked_to_stop()) {
		uint64_t start = os_thread_cpu_us();
		size_t nbytes = round_due(credit_us);
		bool is_much_dirty = has_much_dirty();
		/* What is loose in threads at work does not go soon. */
		uint32_t ms = is_much_dirty || !has_much_loose() ? period_ms() : PERIOD_MAX_MS;

		nquiet = nbytes || is_much_dirty || has_much_loose() ? 0 : nquiet + 1;
		sleep_for(ms);
		credit_us = credit_left(credit_us, os_thread_cpu_us() - start, ms);
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
