/* verify.c: a sound heap passes, whoever is at work; each broken invariant is found. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <sys/single_threaded.h>

#include "core/cache.h"
#include "core/heap.h"
#include "core/hooks.h"
#include "core/knobs.h"
#include "core/large.h"
#include "core/magazine.h"
#include "core/scavenge.h"
#include "core/verify.h"

#define BLOCKS 2000
#define CHURNERS 3

struct hooks hooks;

static void *block[BLOCKS];
static void *large;

static void *alloc(size_t nbytes)
{
	return cache_alloc_class(sizeclass_of_in(heap.classes, nbytes));
}

static void start(void)
{
	cr_assert(heap_init());
	cache_init();
	for (unsigned i = 0; i < BLOCKS; i++)
		block[i] = alloc(48);
	for (unsigned i = 0; i < BLOCKS; i += 2)
		cache_free(block[i]);
	large = large_alloc(MIB(1), 1);
	cr_assert(large);
}

static void sound(void)
{
	start();
	verify_all();
}

static void start_with_8(void)
{
	knobs.min_align = KNOB_MIN_ALIGN_8;
	start();
}

/* Criterion had threads when it forked this process, and libc remembers. */
static void alone(void)
{
	__libc_single_threaded = true;
	sound();
}

static struct span *span_of(void *p)
{
	return heap_span((uintptr_t)p);
}

static void set_granule(uintptr_t p, class_idx c)
{
	atomic_store_explicit(heap_granule(p), c, memory_order_relaxed);
}

Test(verify, a_sound_heap_passes, .init = start)
{
	verify_all();
	scavenge_all();
	verify_all();
	cache_free(large);
	verify_all();
	cache_empty_own();
	verify_all();
}

Test(verify, a_sound_heap_adds_up, .init = alone)
{
	cache_free(large);
	verify_all();
	scavenge_all();
	verify_all();
}

Test(verify, a_sound_heap_of_8_byte_slots_passes, .init = start_with_8)
{
	verify_all();
	scavenge_all();
	verify_all();
}

static _Atomic bool is_over;

static void *churn(void *arg)
{
	void *mine[300] = { 0 };
	uint64_t state = (uintptr_t)arg * 2 + 1;

	/* relaxed: late is as good. */
	while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
		state ^= state << 13, state ^= state >> 7, state ^= state << 17;

		void **at = &mine[state % 300];

		if (*at)
			cache_free(*at);
		*at = state >> 40 & 63 ? alloc(state >> 20 & 1023)
		                       : large_alloc(KIB(40), 1);
	}
	cache_detach();
	return NULL;
}

Test(verify, a_sound_heap_passes_while_others_are_at_work, .init = start)
{
	pthread_t t[CHURNERS];

	for (uintptr_t i = 0; i < CHURNERS; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, churn, (void *)i), 0);
	for (unsigned i = 0; i < 100; i++)
		verify_all();
	atomic_store_explicit(&is_over, true, memory_order_relaxed);
	for (unsigned i = 0; i < CHURNERS; i++)
		cr_assert_eq(pthread_join(t[i], NULL), 0);
	verify_all();
}

Test(verify, the_knob_has_a_round_of_giving_back_look, .init = start, .signal = SIGABRT)
{
	knobs.verify = 1;
	set_granule((uintptr_t)block[1] + 16, sizeclass_of(48));
	scavenge_all();
}

Test(verify, without_the_knob_nobody_looks, .init = start)
{
	set_granule((uintptr_t)block[1] + 16, sizeclass_of(48));
	scavenge_all();
}

Test(verify, a_granule_inside_a_slot_is_found, .init = sound, .signal = SIGABRT)
{
	set_granule((uintptr_t)block[1] + 16, sizeclass_of(48));
	verify_all();
}

Test(verify, a_granule_of_another_class_is_found, .init = sound, .signal = SIGABRT)
{
	set_granule((uintptr_t)block[1], sizeclass_of(64));
	verify_all();
}

Test(verify, a_granule_inside_a_large_block_is_found, .init = sound, .signal = SIGABRT)
{
	set_granule((uintptr_t)large + PAGE_BYTES, SIZECLASS_LARGE);
	verify_all();
}

Test(verify, a_granule_in_free_pages_is_found, .init = sound, .signal = SIGABRT)
{
	cache_free(large);
	set_granule((uintptr_t)large, SIZECLASS_LARGE);
	verify_all();
}

Test(verify, an_allocated_slot_that_is_free_is_found, .init = sound, .signal = SIGABRT)
{
	struct span *s = span_of(block[1]);

	span_put(s, span_slot(s, (uintptr_t)block[1]));
	verify_all();
}

Test(verify, an_allocated_slot_in_a_magazine_is_found, .init = sound, .signal = SIGABRT)
{
	cache_free(block[1]);
	set_granule((uintptr_t)block[1], sizeclass_of(48));
	verify_all();
}

Test(verify, a_wrong_address_in_a_magazine_is_found, .init = sound, .signal = SIGABRT)
{
	cache_free(block[1]);
	*cache_tls.cache->mags.top[sizeclass_of(48)] = (char *)block[1] + 16;
	verify_all();
}

Test(verify, a_magazine_without_its_end_is_found, .init = sound, .signal = SIGABRT)
{
	struct cache *k = cache_tls.cache;
	class_idx c = sizeclass_of(48);

	k->mags.top[c][-(ptrdiff_t)magazine_count_slots(k, c)] = block[1];
	verify_all();
}

Test(verify, a_wrong_count_of_free_slots_is_found, .init = sound, .signal = SIGABRT)
{
	struct cache *k = cache_tls.cache;

	k->spans.current[sizeclass_of(48)]->nfree++;
	verify_all();
}

Test(verify, a_full_span_with_a_free_slot_is_found, .init = alone, .signal = SIGABRT)
{
	void *first = alloc(128);
	struct span *s = span_of(first);

	while (s->place != SPAN_FULL)
		alloc(128);
	cache_free(first);
	span_put(s, span_slot(s, (uintptr_t)first));
	cache_tls.cache->mags.top[sizeclass_of(128)]--;
	verify_all();
}

Test(verify, a_wrong_count_of_free_pages_is_found, .init = sound, .signal = SIGABRT)
{
	heap.pages.nclean--;
	verify_all();
}

Test(verify, lost_pages_are_found, .init = alone, .signal = SIGABRT)
{
	struct run run;

	cr_assert(heap_take_pages(NULL, 5, 1, true, &run));
	verify_all();
}

Test(verify, a_span_on_free_pages_is_found, .init = alone, .signal = SIGABRT)
{
	struct span *s = span_of(large);

	set_granule((uintptr_t)large, 0);
	heap_give_pages(NULL, heap_page(s->base), s->npages, PAGES_DIRTY);
	verify_all();
}
