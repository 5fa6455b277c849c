/* sweep.c: random heaps, of which the sweep takes what has no mark and nothing else; what is born
 * meanwhile; where the reclaimed goes; what is said of it. SEED=n repeats a heap.
 */
#include <signal.h>

#include "tests/unit/capture.h"
#include "tests/unit/sweep.h"

#define NBLOCKS 20000

struct model {
	char *p;
	size_t nbytes;                          /* of the slot or the pages */
	bool is_marked, is_large;
};

static struct model model[NBLOCKS];
static void *any_block(void)
{
	static const size_t most[] = { 15, 100, 1000, 8000, SIZECLASS_MAX, KIB(200) };
	size_t nbytes = below((unsigned)most[below(COUNT(most))]);

	if (below(8) == 0)
		return cache_alloc_class(sizeclass_noscan(sizeclass_of(nbytes % 4096 + 1)));
	return core_malloc(nbytes);
}

static void fill(struct model *m)
{
	struct block b;

	m->p = any_block();
	cr_assert(block_find(m->p, &b));
	m->nbytes = b.usable + heap.tail_bytes;
	m->is_large = b.class == SIZECLASS_LARGE;
	m->is_marked = below(2);
	if (m->is_marked)
		marks_set((uintptr_t)m->p);
}

static void check_swept(const struct model *m, unsigned n, const struct sweep_counts *before)
{
	struct sweep_counts want = *before, is = sweep_counts();

	for (unsigned i = 0; i < n; i++) {
		cr_assert_eq(is_block(m[i].p), m[i].is_marked, "%p", (void *)m[i].p);
		cr_assert_eq(block_is_reclaimed(m[i].p), !m[i].is_marked);
		if (m[i].is_marked)
			continue;
		want.nblocks++;
		want.nbytes += m[i].nbytes;
		want.nlarge += m[i].is_large;
	}
	cr_assert_eq(is.nblocks, want.nblocks);
	cr_assert_eq(is.nbytes, want.nbytes);
	cr_assert_eq(is.nlarge, want.nlarge);
}

Test(sweep, takes_what_is_allocated_and_has_no_mark, .init = start)
{
	unsigned nleft = 0;

	for (unsigned round = 0; round < 4; round++) {
		unsigned n = nleft + below(NBLOCKS - nleft) + 1;

		n = n < NBLOCKS ? n : NBLOCKS;
		for (unsigned i = nleft; i < n; i++)
			fill(&model[i]);
		/* What the program freed is not the sweep's. */
		for (unsigned i = 0; i < n; i++) {
			if (model[i].is_marked || below(4))
				continue;
			cache_free(model[i].p);
			model[i] = model[--n];
		}
		cycle();
		check_swept(model, n, &(struct sweep_counts){ 0 });
		core_verify();
		verify_all();
		nleft = 0;
		for (unsigned i = 0; i < n; i++) {
			if (model[i].is_marked)
				model[nleft++] = model[i];
		}
	}
	marks_clear(heap_bytes());
	cycle();
	cr_assert(core_returns_all_pages());
}

static int by_address(const void *a, const void *b)
{
	const struct model *x = a, *y = b;

	return x->p < y->p ? -1 : x->p > y->p;
}

Test(sweep, its_slots_are_handed_out_again_each_once, .init = start)
{
	for (unsigned i = 0; i < NBLOCKS; i++)
		fill(&model[i]);
	cycle();
	for (unsigned i = 0; i < NBLOCKS; i++) {
		if (!model[i].is_marked)
			fill(&model[i]);
	}
	qsort(model, NBLOCKS, sizeof *model, by_address);
	for (unsigned i = 0; i + 1 < NBLOCKS; i++)
		cr_assert(model[i].p + model[i].nbytes <= model[i + 1].p);
	verify_all();
}

Test(sweep, black_ends, .init = start)
{
	char *p = core_malloc(100);

	cr_assert(!marks_is_set((uintptr_t)p));
	set_black(true);
	cr_assert(marks_is_set((uintptr_t)core_malloc(100)));
	set_black(false);
	cr_assert(!marks_is_set((uintptr_t)core_malloc(100)));
}

Test(sweep, a_freed_block_has_no_mark, .init = start)
{
	char *small = core_malloc(100), *large = core_malloc(KIB(100));

	marks_set((uintptr_t)small);
	marks_set((uintptr_t)large);
	cache_free(small);
	cache_free(large);
	cr_assert(!marks_is_set((uintptr_t)small) && !marks_is_set((uintptr_t)large));
}

static bool is_marked_when_freed(char *p)
{
	marks_set((uintptr_t)p);
	cache_free(p);
	return marks_is_set((uintptr_t)p);
}

/* Else a block that is freed and made again would look unreached between the two. */
Test(sweep, marks_of_the_freed_stay_until_it_comes_by, .init = start)
{
	char *p = core_malloc(100), *late = core_malloc(100);
	char *low = core_malloc(KIB(100)), *high = core_malloc(KIB(200));

	cr_assert_lt((uintptr_t)late - heap.base, SWEEP_UNIT_BYTES);
	cr_assert_geq((uintptr_t)high - heap.base, SWEEP_UNIT_BYTES);
	cr_assert(!is_marked_when_freed(core_malloc(1000)));
	set_black(true);
	cr_assert(is_marked_when_freed(core_malloc(1000)));
	sweep_begin(heap_bytes());
	cr_assert(is_marked_when_freed(low) && is_marked_when_freed(p));
	marks_set((uintptr_t)late);
	sweep_some(1);
	cr_assert(!is_marked_when_freed(late));
	cr_assert(is_marked_when_freed(high));
	sweep_all();
	for (size_t w = 0; w < heap_bytes() / 1024; w++)
		cr_assert_eq(atomic_load_explicit(&marks.bits[w], memory_order_relaxed), 0);
	cr_assert(!is_marked_when_freed(core_malloc(1000)));
	set_black(false);
	sweep_finish();
	cr_assert(!is_marked_when_freed(core_malloc(1000)));
}

Test(sweep, behind_its_end_it_wipes_nothing, .init = start)
{
	char *p;

	core_malloc(KIB(100));
	set_black(true);
	sweep_begin(SWEEP_UNIT_BYTES);
	p = core_malloc(KIB(100));
	cr_assert_geq((uintptr_t)p - heap.base, SWEEP_UNIT_BYTES);
	cr_assert(!is_marked_when_freed(p));
}

/* Of slots that malloc has at hand, with one write for many; the sweep wipes what it did not use. */
static size_t slots_at_hand(size_t nbytes)
{
	class_idx c = sizeclass_of_in(heap.classes, nbytes + heap.tail_bytes);

	return magazine_count_slots(cache_tls.cache, c);
}

Test(sweep, marks_come_by_batches, .init = start)
{
	unsigned n = 0, nused = 100;
	char *p[100];

	set_black(true);
	for (unsigned i = 0; i < nused; i++)
		p[i] = core_malloc(60);
	for (size_t g = 0; g < heap_bytes() / 16; g++)
		n += marks_is_set(heap.base + g * 16);
	cr_assert_gt(n, nused);
	for (unsigned i = 0; i < nused; i++)
		cr_assert(marks_is_set((uintptr_t)p[i]));
	sweep_begin(heap_bytes());
	sweep_all();
	for (size_t g = n = 0; g < heap_bytes() / 16; g++)
		n += marks_is_set(heap.base + g * 16);
	cr_assert_eq(n, nused);
	cr_assert(marks_is_set((uintptr_t)core_malloc(60)));
}

Test(sweep, also_while_one_is_on, .init = start)
{
	unsigned n = 0;
	char *p = core_malloc(60);

	while (heap_bytes() == 0 || slots_at_hand(60))
		p = core_malloc(60);
	set_black(true);
	sweep_begin(heap_bytes());
	p = core_malloc(60);
	for (size_t g = 0; g < heap_bytes() / 16; g++)
		n += marks_is_set(heap.base + g * 16);
	cr_assert_eq(n, 1 + slots_at_hand(60));
	cr_assert(marks_is_set((uintptr_t)p));
	sweep_all();
	cr_assert(marks_is_set((uintptr_t)p));
	for (size_t g = n = 0; g < heap_bytes() / 16; g++)
		n += marks_is_set(heap.base + g * 16);
	cr_assert_eq(n, 1);
}

static void start_verified(void)
{
	knobs.verify = 1;
	start();
}

static bool is_clear(const char *p, size_t nbytes)
{
	for (size_t i = 0; i < nbytes; i++) {
		if (p[i])
			return false;
	}
	return true;
}

/* A block born marked is not read: what the last one left there must not look like its own. */
Test(sweep, what_is_verified_is_cleared, .init = start_verified)
{
	static const size_t sizes[] = { 100, KIB(20), KIB(300) };

	for (unsigned i = 0; i < COUNT(sizes); i++) {
		char *p = core_malloc(sizes[i]), *lost = core_malloc(sizes[i]);

		memset(p, 1, sizes[i]);
		memset(lost, 1, sizes[i]);
		cache_free(p);
		cr_assert(is_clear(p, sizes[i]));
		marks_clear(heap_bytes());
		cycle();
		cr_assert(is_clear(lost, sizes[i]));
	}

	char *p = core_malloc(KIB(800));

	memset(p, 1, KIB(800));
	cr_assert_eq(large_resize(p, KIB(400)), p);
	cr_assert(is_clear(p + KIB(400), KIB(400)) && p[KIB(400) - 1]);
}

Test(sweep, marks_without_a_block_go, .init = start)
{
	char *p = core_malloc(100), *kept = core_malloc(100);

	for (unsigned i = 0; i < 64; i++)
		marks_set(align_down((uintptr_t)p, 1024) + i * 16);
	cycle();
	for (unsigned i = 0; i < 64; i++) {
		uintptr_t at = align_down((uintptr_t)p, 1024) + i * 16;

		cr_assert_eq(marks_is_set(at), is_block((void *)at));
	}
	cr_assert(is_block(p) && is_block(kept));
}

Test(sweep, clearing_clears_the_heap, .init = start)
{
	core_malloc(MANY_BYTES);
	for (uintptr_t at = heap.base; at < heap.base + heap_bytes(); at += 4096 + 16)
		marks_set(at);
	marks_set(heap.base + heap_bytes() - 16);
	marks_clear(heap_bytes());
	for (size_t w = 0; w < heap_bytes() / 1024; w++)
		cr_assert_eq(atomic_load_explicit(&marks.bits[w], memory_order_relaxed), 0);
}

Test(sweep, spans_that_become_empty_get_to_the_pages, .init = start)
{
	for (unsigned i = 0; i < 10000; i++)
		core_malloc(i % 3000);

	page_idx before = core_used_pages();

	cache_empty_own();
	cycle();
	cr_assert_lt(core_used_pages(), before / 4, "%u of %u", core_used_pages(), before);
}

static void *fill_and_wait(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 10000; i++)
		core_malloc(i % 3000);
	return NULL;
}

Test(sweep, those_of_threads_that_ended_do, .init = start)
{
	core_in_thread(fill_and_wait, NULL);

	page_idx before = core_used_pages();

	cycle();
	cr_assert_lt(core_used_pages(), before / 4, "%u of %u", core_used_pages(), before);
}

/* Slots were being taken from it. */
Test(sweep, a_span_that_is_free_goes_back_from_a_thread_that_was_tidied, .init = start)
{
	core_malloc(100);
	cache_empty_own();
	scavenge_all();
	cr_assert_gt(core_used_pages(), 0);
	cycle();
	scavenge_all();
	cr_assert_eq(core_used_pages(), 0);
}

Test(sweep, a_child_has_none, .init = start)
{
	char *p = core_malloc(100);

	set_black(true);
	sweep_begin(heap_bytes());
	sweep_fork_child();
	cr_assert(sweep_is_done() && !sweep_is_wanted() && !sweep_some(1));
	cr_assert(is_block(p) && !marks_is_set((uintptr_t)core_malloc(100)));
	cycle();
	cr_assert(!is_block(p));
}

static void expect_said(void *p, const char *want)
{
	struct capture c;
	char said[500];

	knobs.misuse = KNOB_MISUSE_WARN;
	capture_begin(&c);
	cache_free(p);
	capture_end(&c, said, sizeof said);
	cr_assert(strstr(said, want), "%s", said);
}

Test(sweep, a_free_of_the_reclaimed_says_why, .init = start)
{
	char *small = core_malloc(100), *large = core_malloc(KIB(100)), *own = core_malloc(100);

	cache_free(own);
	cycle();
	expect_said(small, "reclaimed");
	expect_said(large, "reclaimed");
	expect_said(own, "double free");
	cr_assert(!is_block(small));
	cr_assert(block_is_reclaimed(small));
}

/* Slots of another class lie where reclaimed ones were. */
Test(sweep, granules_of_the_reclaimed_say_nothing_about_later_blocks, .init = start)
{
	char *old[4096], *p;

	for (unsigned i = 0; i < COUNT(old); i++)
		old[i] = core_malloc(10);
	cycle();
	for (size_t n = 0; n < MIB(1); n += KIB(16)) {
		p = core_malloc(KIB(16));
		for (unsigned i = 0; i < COUNT(old); i++) {
			if (old[i] > p && old[i] < p + KIB(16))
				expect_said(old[i], "interior pointer");
		}
	}
	verify_all();
	cycle();
	verify_all();
}

Test(sweep, needs_marks, .init = core_start, .signal = SIGABRT)
{
	sweep_begin(heap_bytes());
}
