/* sweep_beside.c: a sweep and the program at the same time: malloc sweeps, too; what is freed and made
 * while the sweep is about to claim it.
 */
#include <signal.h>
#include <sys/mman.h>

#include "tests/unit/sweep.h"

Test(sweep_beside, what_is_born_meanwhile_stays, .init = start)
{
	char *before = core_malloc(100), *large = core_malloc(KIB(100));

	set_black(true);

	char *small = core_malloc(100), *pages = core_malloc(KIB(100));
	char *noscan = cache_alloc_class(sizeclass_noscan(8));

	sweep_begin(heap_bytes());

	char *late = core_malloc(100);

	sweep_all();
	set_black(false);
	sweep_finish();
	cr_assert(is_block(small) && is_block(pages) && is_block(noscan) && is_block(late));
	cr_assert(!is_block(before) && !is_block(large));
	cr_assert_eq(sweep_counts().nblocks, 2);
	cr_assert_eq(sweep_counts().nlarge, 1);
}

/* Each of the places where malloc sweeps, so that the others can't stand in for it. */

static size_t begin_with_garbage(void)
{
	for (size_t n = 0; n < MANY_BYTES; n += 1000)
		core_malloc(900);

	char *free_pages = core_malloc(MANY_BYTES);

	cache_free(free_pages);
	set_black(true);
	sweep_begin(heap_bytes());
	return heap_bytes();
}

static void end(void)
{
	sweep_all();
	set_black(false);
	sweep_finish();
	verify_all();
}

Test(sweep_beside, malloc_sweeps_before_it_takes_free_pages_for_a_span, .init = start)
{
	begin_with_garbage();

	page_idx nused = core_used_pages();

	for (size_t n = 0; n < MANY_BYTES / 2; n += 1000)
		core_malloc(900);
	cr_assert_leq(core_used_pages(), nused);
	end();
}

Test(sweep_beside, malloc_sweeps_before_the_heap_grows, .init = start)
{
	size_t nbytes = begin_with_garbage();

	core_malloc(MANY_BYTES);                /* the free ones */
	for (unsigned i = 0; i < 4; i++)
		core_malloc(MANY_BYTES / 5);
	cr_assert_eq(heap_bytes(), nbytes);
	end();
}

Test(sweep_beside, malloc_sweeps_for_spans_of_other_classes, .init = start)
{
	size_t nbytes = begin_with_garbage();

	core_malloc(MANY_BYTES);
	for (size_t n = 0; n < MANY_BYTES / 2; n += 200)
		core_malloc(150);
	cr_assert_eq(heap_bytes(), nbytes);
	end();
}

Test(sweep_beside, a_thread_without_a_cache_sweeps_too, .init = start)
{
	char *p = NULL;

	for (size_t n = 0; n < MANY_BYTES; n += 200)
		cache_hand_out(p = central_alloc(sizeclass_of(150)), sizeclass_of(150));

	size_t nbytes = heap_bytes();

	set_black(true);
	sweep_begin(nbytes);
	for (size_t n = 0; n < MANY_BYTES / 2; n += 200)
		cr_assert(central_alloc(sizeclass_of(150)));
	cr_assert_eq(heap_bytes(), nbytes);
}

static void *second_look(void *p)
{
	atomic_store_explicit(heap_granule((uintptr_t)p), sizeclass_of(101), memory_order_release);
	return NULL;
}

/* A claim that finds a mark afterwards puts the class back: who asks meanwhile waits. */
Test(sweep_beside, a_block_that_is_put_back_was_always_there, .init = start)
{
	char *p = core_malloc(100);
	pthread_t thread;

	sweep_begin(heap_bytes());
	marks_set((uintptr_t)p);
	atomic_store_explicit(heap_granule((uintptr_t)p), SIZECLASS_RECLAIMED, memory_order_relaxed);
	cr_assert_eq(pthread_create(&thread, NULL, second_look, p), 0);
	cr_assert(is_block(p));
	pthread_join(thread, NULL);
	atomic_store_explicit(heap_granule((uintptr_t)p), SIZECLASS_RECLAIMED, memory_order_relaxed);
	cr_assert_eq(pthread_create(&thread, NULL, second_look, p), 0);
	set_black(true);
	cache_free(p);
	cr_assert_eq(granule(p), 0);
	pthread_join(thread, NULL);
}

/* Who waits may get the processor again only when it was put back and the sweep is over. */
Test(sweep_beside, a_block_that_was_put_back_is_none_that_was_reclaimed, .init = start)
{
	char *p = core_malloc(100);

	sweep_begin(heap_bytes());
	marks_set((uintptr_t)p);
	cr_assert_not(sweep_is_reclaimed((uintptr_t)p));
	sweep_all();
	sweep_finish();
	cr_assert(is_block(p));
	cr_assert_not(sweep_is_reclaimed((uintptr_t)p));
}

/* --- between the look at a block's granule and mark, and the claim --- */

/* Where granules can't be written to, the sweep reads that a block is dead, and its claim is a fault:
 * `meanwhile` runs there, and then the claim is made again. */
static void (*meanwhile)(void);
static void *claimed;
static unsigned nclaims;

static void protect_granule(int mode)
{
	uintptr_t page = align_down((uintptr_t)heap_granule((uintptr_t)claimed), OS_PAGE_BYTES);

	check(mprotect((void *)page, OS_PAGE_BYTES, mode) == 0);
}

static void on_claim(int signo)
{
	(void)signo;
	protect_granule(PROT_READ | PROT_WRITE);
	nclaims++;
	meanwhile();
}

static void sweep_while(void *block, void (*fn)(void))
{
	struct sigaction a = { .sa_handler = on_claim };

	claimed = block;
	meanwhile = fn;
	cr_assert_eq(sigaction(SIGSEGV, &a, NULL), 0);
	set_black(true);
	sweep_begin(heap_bytes());
	protect_granule(PROT_READ);
	sweep_all();
	set_black(false);
	sweep_finish();
	cr_assert_eq(nclaims, 1);
	verify_all();
}

static void free_claimed(void)
{
	cache_free(claimed);
}

static size_t made_bytes;

static void free_and_make(void)
{
	cache_free(claimed);
	check(core_malloc(made_bytes) == claimed);
}

Test(sweep_beside, what_is_freed_meanwhile_is_not_reclaimed_as_well, .init = start)
{
	void *p = core_malloc(100);

	sweep_while(p, free_claimed);
	cr_assert_eq(sweep_counts().nblocks, 0);
	cr_assert(!is_block(p));
	cr_assert_eq(core_malloc(100), p);
	cr_assert_neq(core_malloc(100), p);
}

Test(sweep_beside, what_is_freed_and_made_again_meanwhile_stays, .init = start)
{
	char *p = core_malloc(100);

	made_bytes = 100;
	sweep_while(p, free_and_make);
	cr_assert_eq(sweep_counts().nblocks, 0);
	cr_assert(is_block(p) && !block_is_reclaimed(p));
	cr_assert_neq(core_malloc(100), p);
	cache_free(p);
	cr_assert(!is_block(p));
}

/* Its neighbour in the word of granules is garbage, and claimed by the same instruction. */
Test(sweep_beside, what_lies_beside_what_was_made_again_goes, .init = start)
{
	char *p = core_malloc(15), *next = core_malloc(15);

	made_bytes = 15;
	sweep_while(p, free_and_make);
	cr_assert_eq(sweep_counts().nblocks, 1);
	cr_assert(is_block(p) && !is_block(next) && block_is_reclaimed(next));
}

Test(sweep_beside, large_ones_that_are_made_again_meanwhile_stay, .init = start)
{
	char *p = core_malloc(KIB(100));

	made_bytes = KIB(100);
	sweep_while(p, free_and_make);
	cr_assert_eq(sweep_counts().nlarge, 0);
	cr_assert(is_block(p) && !block_is_reclaimed(p));
	memset(p, 1, KIB(100));
	cache_free(p);
	cr_assert(!is_block(p));
}
