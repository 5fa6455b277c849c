/* block.c: which addresses are blocks, which sizes fit them, and what others are called. */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "tests/core.h"
#include "tests/unit/capture.h"

static struct block b;

static void start_and_warn(void)
{
	knobs.misuse = KNOB_MISUSE_WARN;
	core_start();
}

/* Is that what is said about p? */
static void assert_described(const void *p, const char *what)
{
	struct capture c;
	char got[500], wanted[500];

	snprintf(wanted, sizeof wanted, "==%d==WARNING: spangc: %s\n", getpid(), what);
	capture_begin(&c);
	block_report(p, "free");
	cr_assert_eq(capture_end(&c, got, sizeof got), 1);
	cr_assert_str_eq(got, wanted);
}

#define DESCRIBED(p, ...)                                         \
	do {                                                      \
		char text_[300];                                  \
		snprintf(text_, sizeof text_, __VA_ARGS__);       \
		assert_described((p), text_);                     \
	} while (0)

/* --- finding --- */

Test(block, a_small_block_is_found_at_its_start_only, .init = core_start)
{
	char *p = cache_alloc(100);

	cr_assert(block_find(p, &b));
	cr_assert_eq(b.usable, 112);
	cr_assert_eq(b.class, sizeclass_of(100));
	cr_assert_eq(b.span, heap_span((uintptr_t)p));
	for (int i = 1; i < 112; i++)
		cr_assert_not(block_find(p + i, &b), "%d", i);
	cr_assert_not(block_find(p + 112, &b), "a slot not handed out");
	cache_free(p);
	cr_assert_not(block_find(p, &b));
}

Test(block, a_large_block_is_found_at_its_start_only, .init = core_start)
{
	char *p = large_alloc(MIB(1), 1);

	cr_assert(block_find(p, &b));
	cr_assert_eq(b.usable, MIB(1));
	cr_assert_eq(b.class, SIZECLASS_LARGE);
	cr_assert_not(block_find(p + 16, &b));
	cr_assert_not(block_find(p + PAGE_BYTES, &b));
	cr_assert_not(block_find(p + MIB(1), &b));
	cache_free(p);
	cr_assert_not(block_find(p, &b));
}

Test(block, eight_byte_blocks_are_told_apart, .init = core_start_min8)
{
	char *p = cache_alloc(8);

	cr_assert(block_find(p, &b));
	cr_assert_eq(b.usable, 8);
	cr_assert_not(block_find(p + 8, &b));
	cr_assert_not(block_find(p + 4, &b));
}

Test(block, what_is_not_in_the_heap_is_no_block, .init = core_start)
{
	cr_assert_not(block_find(NULL, &b), "no heap yet");
	cache_alloc(1);
	cr_assert_not(block_find(NULL, &b));
	cr_assert_not(block_find(&b, &b));
	cr_assert_not(block_find((void *)(heap.base - 16), &b));
	cr_assert_not(block_find((void *)(heap.base + heap.nbytes), &b));
	cr_assert_not(block_find((void *)UINTPTR_MAX, &b));
	cr_assert_not(block_find((void *)(UINTPTR_MAX - 15), &b));
}

/* --- sizes --- */

Test(block, a_block_is_kept_unless_it_is_too_small_or_half_empty, .init = core_start)
{
	cr_assert(block_find(cache_alloc(1000), &b));
	cr_assert_eq(b.usable, 1024);
	cr_assert(block_keeps(&b, 1024));
	cr_assert(block_keeps(&b, 512));
	cr_assert_not(block_keeps(&b, 1025));
	cr_assert_not(block_keeps(&b, 511));
	cr_assert(block_find(cache_alloc(64), &b));
	cr_assert(block_keeps(&b, 1), "not worth moving");
	cr_assert_not(block_keeps(&b, 65));
}

Test(block, every_size_fits_the_block_it_got, .init = core_start)
{
	for (size_t n = 0; n <= SIZECLASS_MAX; n += 1 + n / 20) {
		void *p = cache_alloc(n);

		cr_assert(block_find(p, &b));
		cr_assert(block_fits(&b, n, 1), "%zu in %zu", n, b.usable);
		cr_assert(block_fits(&b, b.usable, 1));
		cr_assert_not(block_fits(&b, b.usable + 1, 1), "%zu", n);
		cr_assert(n < 256 || !block_fits(&b, n / 4, 1), "%zu", n);
		cache_free(p);
	}
}

Test(block, every_aligned_size_fits_the_block_it_got, .init = core_start)
{
	for (size_t align = 16; align <= KIB(64); align *= 2) {
		for (size_t n = 1; n <= KIB(64); n += 1 + n / 3) {
			class_idx c = n <= SIZECLASS_MAX
			              ? sizeclass_aligned(heap.classes, n, align) : SIZECLASS_NONE;
			void *p = c ? cache_alloc_class(c) : large_alloc(n, align);

			cr_assert_eq((uintptr_t)p % align, 0, "%zu %zu", n, align);
			cr_assert(block_find(p, &b));
			cr_assert(block_fits(&b, n, align), "%zu, %zu in %zu", n, align, b.usable);
			cache_free(p);
		}
	}
}

Test(block, a_large_block_fits_its_pages, .init = core_start)
{
	cr_assert(block_find(large_alloc(KIB(100), 1), &b));
	cr_assert(block_fits(&b, KIB(100), 1));
	cr_assert(block_fits(&b, b.usable, 1));
	cr_assert_not(block_fits(&b, SIZECLASS_MAX + 1, 1), "it would have shrunk");
	cr_assert_not(block_fits(&b, b.usable + 1, 1));
	cr_assert_not(block_fits(&b, 1000, 1));
	cr_assert(block_find(large_alloc(1000, KIB(16)), &b));
	cr_assert(block_fits(&b, 1000, KIB(16)));
	cr_assert_not(block_fits(&b, 1000, 1));
}

/* --- saying what it is --- */

Test(block, freed_blocks_are_double_frees, .init = start_and_warn)
{
	void *p = cache_alloc(48), *keep = cache_alloc(48);

	cache_free(p);
	DESCRIBED(p, "double free of %p in free()", p);
	cr_assert_not_null(keep);
}

Test(block, freed_large_blocks_are_double_frees, .init = start_and_warn)
{
	void *p = large_alloc(MIB(1), 1);

	cache_free(p);
	DESCRIBED(p, "double free of %p in free()", p);
}

Test(block, a_slot_never_handed_out_was_never_allocated_or_freed, .init = start_and_warn)
{
	char *p = cache_alloc(48);

	DESCRIBED(p + 24, "invalid free of %p in free(): interior pointer, 24 bytes into a block of "
	          "48 at %p", (void *)(p + 24), (void *)p);
	DESCRIBED(p + 1, "invalid free of %p in free(): interior pointer, 1 bytes into a block of "
	          "48 at %p", (void *)(p + 1), (void *)p);
}

Test(block, pointers_into_large_blocks_are_interior, .init = start_and_warn)
{
	char *p = large_alloc(MIB(200), 1);
	static const size_t offsets[] = { 1, 16, PAGE_BYTES, MIB(64), MIB(100) + 16, MIB(200) - 1 };

	for (unsigned i = 0; i < sizeof offsets / sizeof *offsets; i++)
		DESCRIBED(p + offsets[i], "invalid free of %p in free(): interior pointer, %zu "
		          "bytes into a block of %zu at %p", (void *)(p + offsets[i]), offsets[i],
		          MIB(200), (void *)p);
}

Test(block, pointers_into_large_blocks_over_old_spans_are_interior, .init = start_and_warn)
{
	static void *small[4000];
	const struct span *old;
	char *p;

	for (unsigned i = 0; i < 4000; i++)
		small[i] = cache_alloc(8192);   /* 32 MB of spans */
	old = heap_span((uintptr_t)small[2000]);
	for (unsigned i = 0; i < 4000; i++)
		cache_free(small[i]);
	cache_empty_own();
	scavenge_all();
	p = large_alloc(MIB(130), 1);
	cr_assert(old->base > (uintptr_t)p && old->base < (uintptr_t)p + MIB(64));
	for (unsigned i = 0; i < 4000; i += 100)
		DESCRIBED(small[i] == p ? p + 16 : small[i], "invalid free of %p in free(): "
		          "interior pointer, %zu bytes into a block of %zu at %p",
		          (void *)(small[i] == p ? p + 16 : small[i]),
		          small[i] == p ? (size_t)16 : (size_t)((char *)small[i] - p), MIB(130),
		          (void *)p);
}

Test(block, other_addresses_have_their_names, .init = start_and_warn)
{
	char local;
	static char global;
	void *stack = (void *)align_down((uintptr_t)&local, 16);

	cache_alloc(48);
	DESCRIBED((void *)16, "invalid free of 0x10 in free(): NULL page");
	DESCRIBED(stack, "invalid free of %p in free(): stack address", stack);
	DESCRIBED((void *)(align_down((uintptr_t)&global, 16) + 3),
	          "invalid free of %p in free(): misaligned pointer",
	          (void *)(align_down((uintptr_t)&global, 16) + 3));
	DESCRIBED((void *)align_down((uintptr_t)&global, 16),
	          "invalid free of %p in free(): not from this heap",
	          (void *)align_down((uintptr_t)&global, 16));
	DESCRIBED((void *)(heap.base + MIB(1) - 16),
	          "invalid free of %p in free(): never allocated",
	          (void *)(heap.base + MIB(1) - 16));
}

/* --- growing --- */

Test(block, what_grows_gets_room_to_grow_on)
{
	for (size_t nbytes = KIB(8) + 1; nbytes <= MIB(8); nbytes += nbytes / 3) {
		size_t grown = block_grown(nbytes - 1, nbytes);

		cr_assert_eq(grown & (grown - 1), 0, "%zu", nbytes);
		cr_assert(grown >= nbytes && grown / 2 < nbytes, "%zu becomes %zu", nbytes, grown);
	}
	cr_assert_eq(block_grown(1000, 1001), 1250);
	cr_assert_eq(block_grown(1000, 4000), 4000, "what is asked for, if more");
	cr_assert_eq(block_grown(MIB(100), MIB(100) + 1), MIB(125));
}

/* Else a block would move at every step, forth and back. */
Test(block, what_has_grown_is_kept)
{
	for (size_t nbytes = 100; nbytes <= MIB(64); nbytes += nbytes / 7) {
		struct block b = { .usable = block_grown(nbytes - 1, nbytes) };

		cr_assert(block_keeps(&b, nbytes), "%zu in %zu", nbytes, b.usable);
	}
}
