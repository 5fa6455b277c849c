/* spanset.c: the spans of one owner, and what strangers free into them. */
#include <criterion/criterion.h>
#include <signal.h>

#include "tests/core.h"

#define C 8                                     /* a class of 512 slots of 128 bytes */
#define NSLOTS 512
#define MAX ((SPANSET_VACANT_PAGES / 8 + 4) * NSLOTS)

static struct spanset ours, theirs;
static void *slots[MAX];
static unsigned nslots;

static void fresh(void)
{
	core_start();
	cr_assert_eq(heap.classes->class[C].nslots, NSLOTS);
}

/* Takes until slots[] has `n` more; fewer if there is no memory. */
static unsigned take(struct spanset *set, unsigned n)
{
	unsigned before = nslots;

	while (nslots < before + n) {
		void *batch[32], **top = &batch[31];
		unsigned left = before + n - nslots;
		unsigned got = spanset_take(set, C, top, left < 32 ? left : 32);

		for (unsigned i = 0; i < got; i++)
			slots[nslots++] = top[-(ptrdiff_t)i];
		if (!got)
			break;
	}
	return nslots - before;
}

static void put_all(struct spanset *set, void **at, unsigned n)
{
	for (unsigned here; n; at += here, n -= here) {
		here = n < SPANSET_PUT_MAX ? n : SPANSET_PUT_MAX;
		spanset_put(set, C, at, here);
	}
}

static void put(struct spanset *set, unsigned first, unsigned limit)
{
	put_all(set, slots + first, limit - first);
}

static void harvest(struct spanset *set)
{
	spanset_harvest(set);
	spanset_verify(set);
}

static struct span *span_at(unsigned i)
{
	return heap_span((uintptr_t)slots[i]);
}

static struct spanset *owner(struct span *s)
{
	return atomic_load_explicit(&s->owner, memory_order_relaxed);
}

/* Two spans used up, a third begun with one slot. */
static void two_full(void)
{
	fresh();
	cr_assert_eq(take(&ours, 2 * NSLOTS + 1), 2 * NSLOTS + 1);
}

/* --- taking --- */

Test(spanset, the_first_take_makes_a_span, .init = fresh)
{
	cr_assert_eq(take(&ours, 3), 3);
	cr_assert_eq(span_at(0)->place, SPAN_CURRENT);
	cr_assert_eq(owner(span_at(0)), &ours);
	cr_assert_eq(ours.current[C], span_at(0));
	cr_assert_eq(span_at(0)->nfree, NSLOTS - 3);
	for (unsigned page = 0; page < 8; page++)
		cr_assert_eq(heap_span((uintptr_t)slots[0] + page * PAGE_BYTES), span_at(0));
}

Test(spanset, every_slot_is_handed_out_once, .init = fresh)
{
	take(&ours, 20 * NSLOTS);
	for (unsigned i = 0; i < nslots; i++) {
		unsigned char *byte = slots[i];

		cr_assert_eq(*byte, 0, "slot %u again", i);
		*byte = 1;
	}
}

Test(spanset, a_span_used_up_is_full_and_in_no_list, .init = two_full)
{
	cr_assert_eq(span_at(0)->place, SPAN_FULL);
	cr_assert_eq(span_at(NSLOTS)->place, SPAN_FULL);
	cr_assert_eq(span_at(2 * NSLOTS)->place, SPAN_CURRENT);
	cr_assert_null(ours.partial[C]);
}

Test(spanset, a_full_span_with_a_free_slot_is_partial, .init = two_full)
{
	put(&ours, 7, 8);
	cr_assert_eq(span_at(7)->place, SPAN_PARTIAL);
	cr_assert_eq(ours.partial[C], span_at(7));
	put(&ours, 8, 9);
	cr_assert_eq(span_at(7)->nfree, 2);
}

Test(spanset, partial_spans_are_used_before_new_pages, .init = two_full)
{
	put(&ours, 7, 9);
	cr_assert_eq(take(&ours, NSLOTS - 1), NSLOTS - 1, "the current span's rest");

	page_idx used = core_used_pages();
	void *freed[] = { slots[7], slots[8] };

	take(&ours, 2);
	cr_assert_eq(slots[nslots - 2], freed[0]);
	cr_assert_eq(slots[nslots - 1], freed[1]);
	cr_assert_eq(core_used_pages(), used);
	cr_assert_eq(span_at(7)->place, SPAN_CURRENT);
}

Test(spanset, without_memory_there_is_nothing_and_nothing_is_lost, .init = fresh)
{
	unsigned n, again;

	core_refuse_memory(true);
	n = take(&ours, 1);
	again = take(&ours, 1);
	core_refuse_memory(false);
	cr_assert_eq(n + again, 0);
	spanset_verify(&ours);
	cr_assert_eq(take(&ours, 1000), 1000);
}

/* --- putting --- */

Test(spanset, a_wholly_free_span_is_kept_for_its_class, .init = two_full)
{
	struct span *s = span_at(0);

	put(&ours, 0, NSLOTS - 1);
	cr_assert_eq(s->place, SPAN_PARTIAL);
	put(&ours, NSLOTS - 1, NSLOTS);
	cr_assert_eq(s->place, SPAN_VACANT);
	cr_assert_eq(owner(s), &ours);
	cr_assert_null(ours.partial[C]);
	spanset_verify(&ours);
	take(&ours, NSLOTS - 1);
	cr_assert_eq(take(&ours, 1), 1);
	cr_assert_eq(span_at(nslots - 1), s);
	cr_assert_eq(s->place, SPAN_CURRENT);
	cr_assert_null(ours.vacant[C]);
	cr_assert_eq(ours.npages_vacant, 0);
	spanset_verify(&ours);
}

Test(spanset, tidying_gives_kept_spans_back, .init = two_full)
{
	struct span *s = span_at(0);

	put(&ours, 0, NSLOTS);
	spanset_tidy(&ours, false);
	cr_assert_eq(s->place, SPAN_UNUSED);
	cr_assert_null(owner(s));
	cr_assert_eq(core_used_pages(), 16, "the two others");
	spanset_verify(&ours);
}

Test(spanset, more_free_spans_than_are_kept_leave, .init = fresh)
{
	const unsigned nkept = SPANSET_VACANT_PAGES / 8;

	take(&ours, (nkept + 3) * NSLOTS);
	put(&ours, 0, (nkept + 3) * NSLOTS);
	cr_assert_leq(ours.npages_vacant, SPANSET_VACANT_PAGES);
	spanset_verify(&ours);
	heap_return_cache(&ours.pages);
	cr_assert_eq(core_used_pages(), ours.npages_vacant + 8, "and the current one");
}

Test(spanset, spans_leave_the_partial_list_from_its_ends_and_middle, .init = fresh)
{
	take(&ours, 5 * NSLOTS + 1);
	for (unsigned i = 0; i < 5; i++)
		put(&ours, i * NSLOTS, i * NSLOTS + 1);
	put(&ours, 2 * NSLOTS + 1, 3 * NSLOTS);         /* the middle */
	put(&ours, 4 * NSLOTS + 1, 5 * NSLOTS);         /* the newest */
	put(&ours, 1, NSLOTS);                          /* the oldest */
	cr_assert_eq(ours.partial[C], span_at(3 * NSLOTS));
	cr_assert_eq(ours.partial[C]->next, span_at(NSLOTS));
	cr_assert_null(ours.partial[C]->next->next);
}

Test(spanset, the_current_span_stays_until_tidied, .init = fresh)
{
	take(&ours, 10);
	put(&ours, 0, 10);
	cr_assert_eq(ours.current[C], span_at(0));
	spanset_tidy(&ours, false);
	cr_assert_null(ours.current[C]);
	cr_assert_eq(core_used_pages(), 0);
}

Test(spanset, a_slot_put_twice_is_noted, .init = two_full)
{
	put(&ours, 0, 2);
	cr_assert_null(ours.twice);
	put(&ours, 1, 2);
	cr_assert_eq(ours.twice, slots[1]);
}

Test(spanset, neighbours_are_put_in_any_order, .init = two_full)
{
	unsigned n = 2 * NSLOTS;
	void *copy[2 * NSLOTS];

	for (unsigned i = 0; i < n; i++)
		copy[i] = slots[n - 1 - i];     /* falling, across words and spans */
	put_all(&ours, copy, n);
	cr_assert_null(ours.twice);
	cr_assert_eq(ours.npages_vacant, 16);
	spanset_verify(&ours);
	take(&ours, n);
	put(&ours, nslots - n, nslots);         /* rising */
	cr_assert_null(ours.twice);
	spanset_verify(&ours);
}

Test(spanset, the_slot_noted_is_the_neighbour_put_twice, .init = two_full)
{
	put(&ours, 6, 7);
	put(&ours, 4, 8);
	cr_assert_eq(ours.twice, slots[6]);
	cr_assert_eq(span_at(6)->nfree, 4);
}

/* --- strangers --- */

Test(spanset, what_strangers_free_comes_with_harvest, .init = two_full)
{
	put(&theirs, 0, NSLOTS - 1);
	cr_assert_eq(span_at(0)->place, SPAN_FULL, "nobody looked yet");
	cr_assert_null(theirs.twice);
	harvest(&ours);
	cr_assert_eq(span_at(0)->place, SPAN_PARTIAL);
	cr_assert_eq(span_at(0)->nfree, NSLOTS - 1);
	cr_assert_null(ours.twice);
}

Test(spanset, strangers_frees_are_found_before_new_pages, .init = two_full)
{
	void *first = slots[0];

	put(&theirs, 0, 100);
	take(&ours, NSLOTS - 1);
	take(&ours, 1);
	cr_assert_eq(slots[nslots - 1], first);
}

Test(spanset, a_span_strangers_freed_wholly_is_kept_too, .init = two_full)
{
	put(&theirs, 0, NSLOTS);
	harvest(&ours);
	cr_assert_eq(span_at(0)->place, SPAN_VACANT);
	cr_assert_eq(span_at(0)->nfree, NSLOTS);
}

Test(spanset, mixed_owners_in_one_batch_are_told_apart, .init = two_full)
{
	take(&theirs, NSLOTS + 1);
	put(&theirs, NSLOTS - 3, nslots);
	harvest(&ours);
	cr_assert_eq(span_at(0)->nfree, 3);
	spanset_tidy(&ours, false);
	spanset_tidy(&theirs, false);
	cr_assert_eq(core_used_pages(), 8, "the span that keeps NSLOTS - 3 slots");
}

Test(spanset, a_lone_slot_is_put_without_a_set, .init = two_full)
{
	cr_assert(spanset_put_remote(slots[5]));
	cr_assert_not(spanset_put_remote(slots[5]));
	harvest(&ours);
	cr_assert_eq(span_at(5)->nfree, 1);
}

Test(spanset, a_slot_two_strangers_free_is_noted, .init = two_full)
{
	put(&theirs, 4, 8);
	cr_assert_null(theirs.twice);
	put(&theirs, 4, 5);
	cr_assert_eq(theirs.twice, slots[4]);
}

Test(spanset, the_slot_noted_is_the_one_freed_twice, .init = two_full)
{
	put(&theirs, 6, 7);
	put(&theirs, 4, 8);                     /* four neighbours, one of them again */
	cr_assert_eq(theirs.twice, slots[6]);
}

Test(spanset, a_slot_twice_in_a_strangers_batch_is_noted, .init = two_full)
{
	slots[5] = slots[4];
	put(&theirs, 4, 6);
	cr_assert_eq(theirs.twice, slots[4]);
}

Test(spanset, a_slot_freed_here_then_there_is_noted_at_harvest, .init = two_full)
{
	put(&ours, 3, 4);
	put(&theirs, 3, 4);
	harvest(&ours);
	cr_assert_eq(ours.twice, slots[3]);
}

Test(spanset, a_slot_freed_there_then_here_is_noted_at_harvest, .init = two_full)
{
	put(&theirs, 3, 4);
	put(&ours, 3, 4);
	harvest(&ours);
	cr_assert_eq(ours.twice, slots[3]);
}

Test(spanset, news_of_a_span_that_moved_are_passed_on, .init = two_full)
{
	put(&ours, 0, 1);
	put(&theirs, 1, 2);                     /* told to ours */
	cr_assert(spanset_move_one(&ours, &theirs, C));
	cr_assert_eq(owner(span_at(0)), &theirs);
	harvest(&ours);
	cr_assert_eq(span_at(0)->nfree, 1);
	harvest(&theirs);
	cr_assert_eq(span_at(0)->nfree, 2);
	spanset_verify(&ours);
	spanset_verify(&theirs);
}

Test(spanset, news_of_a_span_that_is_gone_are_dropped, .init = two_full)
{
	struct span *s = span_at(0);

	put(&ours, 0, NSLOTS);
	spanset_tidy(&ours, false);
	cr_assert_null(owner(s));
	/* A stranger told of it as late as can be. */
	atomic_store_explicit(&s->has_news, true, memory_order_relaxed);
	atomic_store_explicit(&ours.news, s, memory_order_relaxed);
	harvest(&ours);
	cr_assert_not(atomic_load_explicit(&s->has_news, memory_order_relaxed));
	cr_assert_null(atomic_load_explicit(&ours.news, memory_order_relaxed));
}

Test(spanset, a_span_is_told_of_once_until_harvest, .init = two_full)
{
	put(&theirs, 0, 1);
	put(&theirs, 1, 2);
	put(&theirs, NSLOTS, NSLOTS + 1);
	cr_assert_eq(atomic_load_explicit(&ours.news, memory_order_relaxed), span_at(NSLOTS));
	cr_assert_eq(atomic_load_explicit(&span_at(NSLOTS)->news_next, memory_order_relaxed),
	             span_at(0));
	cr_assert_null(atomic_load_explicit(&span_at(0)->news_next, memory_order_relaxed));
	harvest(&ours);
	put(&theirs, 2, 3);
	cr_assert_eq(atomic_load_explicit(&ours.news, memory_order_relaxed), span_at(0), "again");
}

/* --- moving, tidying, records --- */

Test(spanset, spans_with_free_slots_move_full_ones_stay, .init = two_full)
{
	put(&ours, 0, 1);
	spanset_move(&ours, &theirs);
	cr_assert_eq(owner(span_at(0)), &theirs);
	cr_assert_eq(owner(span_at(NSLOTS)), &ours);
	cr_assert_eq(owner(span_at(2 * NSLOTS)), &theirs, "the current one");
	cr_assert_eq(span_at(2 * NSLOTS)->place, SPAN_PARTIAL);
	cr_assert_null(ours.current[C]);
	cr_assert_null(ours.partial[C]);
	spanset_verify(&theirs);
	put(&theirs, 0, nslots);
	harvest(&ours);
	spanset_tidy(&ours, false);
	spanset_tidy(&theirs, false);
	cr_assert_eq(core_used_pages(), 0);
}

Test(spanset, tidying_gives_back_what_strangers_freed, .init = two_full)
{
	put(&theirs, 0, nslots);
	spanset_tidy(&ours, false);
	cr_assert_eq(core_used_pages(), 0);
}

Test(spanset, tidying_with_trim_discards_pages_inside_spans, .init = two_full)
{
	put(&ours, 0, NSLOTS - 1);              /* 64 KiB but for the last 128 bytes */
	cr_assert_eq(spanset_tidy(&ours, true), KIB(60) + KIB(60), "and the current span's rest");
	cr_assert_eq(spanset_tidy(&ours, true), 0, "nothing new");
}

Test(spanset, a_few_records_are_kept_for_the_next_spans, .init = fresh)
{
	struct span *records[100];

	for (unsigned i = 0; i < 100; i++) {
		records[i] = spanset_new_record(&ours);
		cr_assert_not_null(records[i]);
	}
	for (unsigned i = 0; i < 100; i++) {
		spanset_drop_record(&ours, records[i]);
		cr_assert_eq(records[i]->place, SPAN_UNUSED);
	}
	cr_assert_lt(ours.nspare_spans, 100);
	cr_assert_gt(ours.nspare_spans, 0);

	struct span *top = ours.spare_spans;
	unsigned nspare = ours.nspare_spans;

	cr_assert_eq(spanset_new_record(&ours), top);
	cr_assert_eq(ours.nspare_spans, nspare - 1);
	cr_assert_not_null(spanset_new_record(NULL), "the heap has others");
}

/* --- spanset_verify() sees each invariant broken --- */

Test(spanset, verify_sees_a_strange_owner, .init = two_full, .signal = SIGABRT)
{
	atomic_store_explicit(&ours.current[C]->owner, &theirs, memory_order_relaxed);
	spanset_verify(&ours);
}

Test(spanset, verify_sees_a_span_of_another_class, .init = two_full, .signal = SIGABRT)
{
	put(&ours, 0, 1);
	ours.partial[C + 1] = ours.partial[C];
	spanset_verify(&ours);
}

Test(spanset, verify_sees_a_full_span_in_the_list, .init = two_full, .signal = SIGABRT)
{
	put(&ours, 0, 1);
	ours.partial[C]->free[0] = 0;
	ours.partial[C]->nfree = 0;
	spanset_verify(&ours);
}

Test(spanset, verify_sees_a_slot_in_use_in_a_kept_span, .init = two_full, .signal = SIGABRT)
{
	put(&ours, 0, NSLOTS);
	ours.vacant[C]->nfree--;
	spanset_verify(&ours);
}

Test(spanset, verify_counts_the_kept_pages, .init = two_full, .signal = SIGABRT)
{
	put(&ours, 0, NSLOTS);
	ours.npages_vacant++;
	spanset_verify(&ours);
}
