/* span.c: one span: which slots are handed out, put back, and found to be free twice. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <signal.h>

#include "core/hooks.h"
#include "core/span.h"

/* core/report.h calls up through them. */
struct hooks hooks;

#define BASE UINT64_C(0x10000000)               /* never read: a span only computes addresses */
#define SLOT_BYTES 48

static struct span s;
static void *slots[SIZECLASS_MAX_SLOTS];

static void span_of(unsigned nslots)
{
	struct sizeclass geometry = {
		.slot_bytes = SLOT_BYTES,
		.recip = (uint32_t)((UINT64_C(1) << 32) / SLOT_BYTES + 1),
		.nslots = (uint16_t)nslots,
		.nwords = (uint8_t)((nslots + 63) / 64),
		.npages = (uint8_t)((nslots * SLOT_BYTES + PAGE_BYTES - 1) / PAGE_BYTES),
	};

	span_init(&s, BASE, 3, &geometry);
}

static void fresh(void)
{
	span_of(130);
}

/* Takes n slots into slots[0], slots[1], ... in the order they were taken. */
static unsigned take(unsigned n)
{
	void *reversed[SIZECLASS_MAX_SLOTS];
	unsigned got = span_take(&s, &reversed[SIZECLASS_MAX_SLOTS - 1], n);

	for (unsigned i = 0; i < got; i++)
		slots[i] = reversed[SIZECLASS_MAX_SLOTS - 1 - i];
	return got;
}

static void fresh_all_taken(void)
{
	fresh();
	cr_assert_eq(take(130), 130);
}

/* Every count around a word's edge: where off-by-ones live. */
static unsigned *edges(size_t *n)
{
	static unsigned counts[] = { 1, 2, 63, 64, 65, 127, 128, 129, 256, 455, 511, 512 };

	*n = sizeof counts / sizeof *counts;
	return counts;
}

ParameterizedTestParameters(span, hands_out_each_slot_once_and_in_order)
{
	size_t n;
	unsigned *counts = edges(&n);

	return cr_make_param_array(unsigned, counts, n);
}

ParameterizedTest(unsigned *nslots, span, hands_out_each_slot_once_and_in_order)
{
	unsigned got = 0;

	span_of(*nslots);
	span_verify(&s);
	cr_assert_eq(s.nfree, *nslots);
	for (unsigned n; (n = take(7)) > 0;) {
		for (unsigned i = 0; i < n; i++, got++)
			cr_assert_eq((uintptr_t)slots[i], BASE + got * SLOT_BYTES, "slot %u", got);
		cr_assert_eq(s.nfree, *nslots - got);
		span_verify(&s);
	}
	cr_assert_eq(got, *nslots);
}

ParameterizedTestParameters(span, takes_back_all_slots_in_any_way)
{
	size_t n;
	unsigned *counts = edges(&n);

	return cr_make_param_array(unsigned, counts, n);
}

ParameterizedTest(unsigned *nslots, span, takes_back_all_slots_in_any_way)
{
	span_of(*nslots);
	cr_assert_eq(take(*nslots), *nslots);
	for (unsigned slot = 0; slot < *nslots; slot++) {
		if (slot % 2)
			cr_assert(span_put(&s, slot));
		else
			cr_assert_eq(span_put_remote(&s, slot / 64, UINT64_C(1) << slot % 64), 0);
	}
	span_verify(&s);
	cr_assert_null(span_harvest(&s));
	cr_assert_eq(s.nfree, *nslots);
	cr_assert_not(span_has_remote(&s));
	span_verify(&s);
	cr_assert_eq(take(*nslots), *nslots);
}

Test(span, a_batch_may_cross_words, .init = fresh)
{
	cr_assert_eq(take(60), 60);
	cr_assert_eq(take(8), 8);
	for (unsigned i = 0; i < 8; i++)
		cr_assert_eq(span_slot(&s, (uintptr_t)slots[i]), 60 + i);
	cr_assert_eq(take(0), 0);
	cr_assert_eq(take(100), 62, "what is left");
	cr_assert_eq(s.nfree, 0);
}

Test(span, finds_slots_put_into_words_already_passed, .init = fresh_all_taken)
{
	cr_assert(span_put(&s, 5));
	cr_assert(span_put(&s, 129));
	cr_assert(span_put(&s, 64));
	cr_assert_eq(take(10), 3);
	cr_assert_eq(s.nfree, 0);
	span_verify(&s);
}

Test(span, a_slot_put_twice_is_refused_and_counted_once, .init = fresh_all_taken)
{
	cr_assert(span_put(&s, 63));
	cr_assert_not(span_put(&s, 63));
	cr_assert_eq(s.nfree, 1);
	span_verify(&s);
}

Test(span, a_range_is_put_across_words, .init = fresh_all_taken)
{
	cr_assert_eq(span_put_range(&s, 60, 70), -1);
	cr_assert_eq(s.nfree, 70);
	cr_assert_eq(s.word, 0, "the next slots come from there");
	span_verify(&s);
	cr_assert_eq(take(130), 70);
	cr_assert_eq(span_slot(&s, (uintptr_t)slots[0]), 60);
	cr_assert_eq(span_slot(&s, (uintptr_t)slots[69]), 129);
}

Test(span, of_a_range_the_slot_put_before_is_named, .init = fresh_all_taken)
{
	cr_assert(span_put(&s, 66));
	cr_assert_eq(span_put_range(&s, 2, 100), 66);
	cr_assert_eq(s.nfree, 100);
	cr_assert_eq(span_put_range(&s, 0, 3), 2);
	cr_assert_eq(s.nfree, 102);
	cr_assert_eq(span_put_range(&s, 100, 6), 100, "in the word where it begins");
	cr_assert_eq(s.nfree, 106);
	span_verify(&s);
}

Test(span, a_slot_never_handed_out_is_refused, .init = fresh)
{
	cr_assert_not(span_put(&s, 0));
	cr_assert_eq(s.nfree, 130);
}

Test(span, a_slot_freed_twice_by_strangers_is_refused, .init = fresh_all_taken)
{
	cr_assert_eq(span_put_remote(&s, 1, 1 << 7), 0);
	cr_assert_eq(span_put_remote(&s, 1, 1 << 7), 1 << 7);
	cr_assert_eq(span_put_remote(&s, 0, 1 << 7), 0, "the same bit of another word");
	cr_assert_null(span_harvest(&s), "once refused, it is free once");
	cr_assert_eq(s.nfree, 2);
	span_verify(&s);
}

Test(span, of_a_run_the_slots_freed_before_are_named, .init = fresh_all_taken)
{
	cr_assert_eq(span_put_remote(&s, 0, 0xf0), 0);
	cr_assert_eq(span_put_remote(&s, 0, 0x3f), 0x30);
	span_harvest(&s);
	cr_assert_eq(s.nfree, 8);
}

Test(span, a_slot_freed_here_and_elsewhere_is_named_by_harvest, .init = fresh_all_taken)
{
	cr_assert(span_put(&s, 70));
	cr_assert_eq(span_put_remote(&s, 1, 1 << 5 | 1 << 6), 0);
	cr_assert_eq((uintptr_t)span_harvest(&s), BASE + 70 * SLOT_BYTES);
	cr_assert_eq(s.nfree, 2, "70 once, and 69");
	span_verify(&s);
}

Test(span, strangers_frees_wait_for_harvest, .init = fresh_all_taken)
{
	cr_assert_not(span_has_remote(&s));
	cr_assert_null(span_harvest(&s));
	cr_assert_eq(span_put_remote(&s, 2, 2), 0);
	cr_assert(span_has_remote(&s), "in the last word");
	cr_assert_eq(take(1), 0);
	cr_assert_null(span_harvest(&s));
	cr_assert_eq(take(2), 1);
	cr_assert_eq(span_slot(&s, (uintptr_t)slots[0]), 129);
}

Test(span, every_address_of_a_slot_belongs_to_it)
{
	for (unsigned c = 1; c <= sizeclass_set16.count; c++) {
		const struct sizeclass *geometry = &sizeclass_set16.class[c];

		span_init(&s, BASE, (class_idx)c, geometry);
		for (unsigned slot = 0; slot < s.nslots; slot++) {
			uintptr_t first = (uintptr_t)span_slot_address(&s, slot);

			cr_assert_eq(span_slot(&s, first), slot);
			cr_assert_eq(span_slot(&s, first + s.slot_bytes - 1), slot);
		}
		cr_assert_leq((uintptr_t)span_slot_address(&s, s.nslots),
		              BASE + s.npages * PAGE_BYTES);
	}
}

/* --- span_verify() sees each invariant broken --- */

Test(span, verify_sees_a_free_slot_in_a_word_passed, .init = fresh, .signal = SIGABRT)
{
	s.word = 1;
	span_verify(&s);
}

Test(span, verify_counts_the_free_slots, .init = fresh, .signal = SIGABRT)
{
	s.nfree--;
	span_verify(&s);
}

Test(span, verify_sees_a_free_slot_beyond_the_last, .init = fresh, .signal = SIGABRT)
{
	s.free[2] |= 4;
	s.nfree++;
	span_verify(&s);
}

Test(span, verify_sees_a_stranger_beyond_the_last, .init = fresh, .signal = SIGABRT)
{
	span_put_remote(&s, 2, 4);
	span_verify(&s);
}

Test(span, verify_sees_a_slot_free_and_freed, .init = fresh, .signal = SIGABRT)
{
	span_put_remote(&s, 0, 1);
	span_verify(&s);
}
