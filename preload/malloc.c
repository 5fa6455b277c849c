/* malloc.c: the malloc family as the program sees it: arguments, errno, alignment, overflow.
 *
 * Reached from everywhere in the program, from ld.so before our constructor, from signal
 * handlers, and from destructors after ours. Decides nothing about memory: core does. What each
 * name promises is glibc's manual, and where that is silent glibc 2.36.
 *
 * malloc and free consist of their hot halves in core/cache.h; the rest here is out of line.
 */
#include "preload/preload.h"

#include "core/block.h"
#include "core/budget.h"
#include "core/cache.h"
#include "core/heap.h"
#include "core/large.h"
#include "core/record.h"
#include "core/scavenge.h"
#include "preload/leaks.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* Addresses that stay ours if the program defines the names too. */
#define own(name) \
	extern __typeof__(name) own_##name __attribute__((alias(#name), visibility("hidden"), copy(name)))

own(malloc);
own(free);
own(calloc);
own(realloc);
own(reallocarray);
own(memalign);
own(aligned_alloc);
own(posix_memalign);
own(valloc);
own(pvalloc);
own(malloc_usable_size);
own(spangc_malloc_noscan);

/* The names as the loader resolves them: to the compiler unrelated to the functions above. */
#define found(name) extern const char found_##name[] __asm__(#name)

found(malloc);
found(free);
found(calloc);
found(realloc);
found(memalign);
found(aligned_alloc);
found(posix_memalign);
found(valloc);
found(malloc_usable_size);

/* All of malloc may be somebody else's whose names come first: the program's, or an allocator's that is
 * preloaded in front of this one. What that does not define is ours still, and is for its blocks. A program at
 * a fixed address has entries that lead here. */
#define is_elsewhere(name) \
	(unlikely(hidden_address(found_##name) != hidden_address((const char *)own_##name)) \
	 && !init_has_family())
#define elsewhere(name) ((__typeof__(&name))(uintptr_t)found_##name)

/* The compiler would say that two names are two addresses. */
HOT const char *hidden_address(const char *p)
{
	__asm__("" : "+r"(p));
	return p;
}

#define CALLER __builtin_return_address(0)

#define also(name) __attribute__((alias(#name), visibility("default"), copy(name)))

static COLD void *no_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

/* No slot: no memory, or blocks have records, or the library stands down. */
static COLD void *malloc_elsewhere(size_t nbytes, const void *caller)
{
	if (leaks_are_on())
		return leaks_malloc(nbytes, own_malloc, caller);
	return next.malloc ? next.malloc(nbytes) : no_memory();
}

static SLOW void *malloc_slower(struct magazines *m, size_t nbytes, const void *caller)
{
	void *p = cache_alloc_slow(m, nbytes, caller);

	return likely(p != NULL) ? p : malloc_elsewhere(nbytes, caller);
}

static SLOW PLACED void *malloc_slow(struct magazines *m, size_t nbytes, const void *caller)
{
	if (leaks_are_on())
		return leaks_malloc(nbytes, own_malloc, caller);

	void *p = cache_alloc_marked(nbytes);

	return likely(p != NULL) ? p : malloc_slower(m, nbytes, caller);
}

static COLD void *malloc_large(size_t nbytes, const void *caller)
{
	if (nbytes > PTRDIFF_MAX)
		return no_memory();
	if (!cache_is_started() || leaks_are_on())
		return malloc_elsewhere(nbytes, caller);

	void *p = large_alloc(nbytes + heap.tail_bytes, 1);

	scavenge_poll(caller);
	budget_poll(caller);
	return p ? p : no_memory();
}

/* Blocks that are filled for longer than a jump takes. */
static SLOW void *malloc_middle(size_t nbytes)
{
	if (unlikely(nbytes > SIZECLASS_MAX))
		return malloc_large(nbytes, CALLER);
	return cache_alloc_or(sizeclass_of(nbytes), nbytes, malloc_slow);
}

EXPORT_HOT void *malloc(size_t nbytes)
{
	if (unlikely(nbytes > SIZECLASS_SMALL))
		return malloc_middle(nbytes);
	return cache_alloc_or(sizeclass_of_small(nbytes), nbytes, malloc_slow);
}

EXPORT_HOT void free(void *p)
{
	cache_free(p);
}

/* As malloc_elsewhere(). */
static COLD void *calloc_elsewhere(size_t nbytes, const void *caller)
{
	if (leaks_are_on())
		return leaks_calloc(nbytes, own_calloc, caller);
	return next.calloc ? next.calloc(nbytes, 1) : no_memory();
}

static COLD void *calloc_large(size_t nbytes, const void *caller)
{
	if (nbytes > PTRDIFF_MAX)
		return no_memory();
	if (!cache_is_started() || leaks_are_on())
		return calloc_elsewhere(nbytes, caller);

	void *p = large_calloc(nbytes + heap.tail_bytes);

	scavenge_poll(caller);
	budget_poll(caller);
	return p ? p : no_memory();
}

EXPORT_HOT void *calloc(size_t n, size_t size)
{
	size_t nbytes;

	if (unlikely(__builtin_mul_overflow(n, size, &nbytes)))
		return no_memory();
	if (unlikely(nbytes > SIZECLASS_MAX))
		return calloc_large(nbytes, CALLER);

	void *p = cache_alloc(nbytes);

	if (unlikely(!p))
		return calloc_elsewhere(nbytes, CALLER);
	return memset(p, 0, nbytes);
}

static void *move(void *p, const struct block *b, size_t nbytes)
{
	size_t grown = nbytes > b->usable ? block_grown(b->usable, nbytes) - heap.tail_bytes : 0;
	void *to = malloc(grown > nbytes ? grown : nbytes);

	if (!to && grown > nbytes)
		to = malloc(nbytes);
	if (!to)
		return NULL;
	memcpy(to, p, nbytes < b->usable ? nbytes : b->usable);
	cache_free(p);
	return to;
}

static void *resize_block(void *p, size_t nbytes, const char *call, const void *caller)
{
	struct block b;

	if (unlikely(!block_find(p, &b))) {
		if (next.realloc)
			return next.realloc(p, nbytes);
		block_report(p, call);
		return no_memory();
	}
	if (nbytes == 0) {
		cache_free_as(p, call, caller);
		return NULL;
	}
	if (block_keeps(&b, nbytes))
		return p;
	if (b.class != SIZECLASS_LARGE || nbytes <= SIZECLASS_MAX - heap.tail_bytes)
		return move(p, &b, nbytes);
	if (nbytes > PTRDIFF_MAX)
		return no_memory();

	void *to = large_resize(p, nbytes + heap.tail_bytes);

	scavenge_poll(caller);
	budget_poll(caller);
	return to ? to : no_memory();
}

static SLOW bool is_block(const void *p)
{
	struct block b;

	return block_find(p, &b);
}

/* `function` is realloc or a relative, `call` its name. */
static SLOW void *resize(void *p, size_t nbytes, const void *function, const char *call,
                         const void *caller)
{
	if (unlikely(leaks_are_on()) && nbytes && is_block(p))
		return leaks_realloc(p, nbytes, function, caller);
	return resize_block(p, nbytes, call, caller);
}

/* malloc() under another name. */
static void *malloc_as(size_t nbytes, const void *function, const void *caller)
{
	if (likely(!leaks_are_on()))
		return malloc(nbytes);

	return leaks_malloc(nbytes, function, caller);
}

EXPORT void *realloc(void *p, size_t nbytes)
{
	if (unlikely(!p))
		return malloc_as(nbytes, own_realloc, CALLER);

	size_t usable = cache_slot_bytes(p);

	/* Half of all calls of programs that grow something: block_keeps() for slots. */
	if (likely(nbytes <= usable && nbytes > usable / 2))
		return p;
	return resize(p, nbytes, own_realloc, "realloc", CALLER);
}

EXPORT void *reallocarray(void *p, size_t n, size_t size)
{
	size_t nbytes;

	if (__builtin_mul_overflow(n, size, &nbytes))
		return no_memory();
	if (is_elsewhere(realloc))
		return elsewhere(realloc)(p, nbytes);
	if (!p)
		return malloc_as(nbytes, own_reallocarray, CALLER);
	return resize(p, nbytes, own_reallocarray, "reallocarray", CALLER);
}

/* `align` is a power of two. NULL: no memory; errno as it was. */
static void *alloc_aligned(size_t align, size_t nbytes, const void *function, const void *caller)
{
	if (nbytes > PTRDIFF_MAX || align > PTRDIFF_MAX || !cache_is_started())
		return next.memalign ? next.memalign(align, nbytes) : NULL;
	if (leaks_are_on())
		return leaks_memalign(align, nbytes, function, caller);
	nbytes += heap.tail_bytes;
	if (nbytes <= SIZECLASS_MAX && align <= PAGE_BYTES) {
		class_idx c = sizeclass_aligned(heap.classes, nbytes, align);

		if (c)
			return cache_alloc_class(c);
	}

	void *p = large_alloc(nbytes ? nbytes : 1, align);

	budget_poll(caller);
	return p;
}

static void *memalign_as(size_t align, size_t nbytes, const void *function, const void *caller)
{
	if (align > SIZE_MAX / 2 + 1) {
		errno = EINVAL;
		return NULL;
	}
	if (!is_power_of_two(align))
		align = align ? (size_t)1 << (64 - __builtin_clzl(align)) : 1;

	void *p = alloc_aligned(align, nbytes, function, caller);

	return p ? p : no_memory();
}

EXPORT void *memalign(size_t align, size_t nbytes)
{
	return memalign_as(align, nbytes, own_memalign, CALLER);
}

EXPORT void *aligned_alloc(size_t align, size_t nbytes)
{
	if (!is_power_of_two(align)) {
		errno = EINVAL;
		return NULL;
	}
	void *p = alloc_aligned(align, nbytes, own_aligned_alloc, CALLER);

	return p ? p : no_memory();
}

EXPORT int posix_memalign(void **memptr, size_t align, size_t nbytes)
{
	int kept = errno;

	if (!is_power_of_two(align) || align % sizeof(void *))
		return EINVAL;

	void *p = alloc_aligned(align, nbytes, own_posix_memalign, CALLER);

	errno = kept;
	if (!p)
		return ENOMEM;
	*memptr = p;
	return 0;
}

EXPORT void *valloc(size_t nbytes)
{
	void *p = alloc_aligned(OS_PAGE_BYTES, nbytes, own_valloc, CALLER);

	return p ? p : no_memory();
}

EXPORT void *pvalloc(size_t nbytes)
{
	if (nbytes > PTRDIFF_MAX - OS_PAGE_BYTES)
		return no_memory();
	nbytes = nbytes ? align_up(nbytes, OS_PAGE_BYTES) : OS_PAGE_BYTES;
	if (is_elsewhere(memalign))
		return elsewhere(memalign)(OS_PAGE_BYTES, nbytes);
	return memalign_as(OS_PAGE_BYTES, nbytes, own_pvalloc, CALLER);
}

EXPORT void cfree(void *p)
{
	if (is_elsewhere(free))
		elsewhere(free)(p);
	else
		cache_free_as(p, "cfree", CALLER);
}

static void free_checked(void *p, size_t align, size_t nbytes, const char *call,
                         const void *caller)
{
	struct block b;

	if (is_elsewhere(free)) {
		elsewhere(free)(p);
		return;
	}
	if (p && block_find(p, &b) && !block_fits(&b, nbytes, align)
	    && !leaks_asked_for(p, &b, nbytes)) {
		struct misuse_detail d = { .block_bytes = b.usable, .given_bytes = nbytes };

		report_misuse(MISUSE_SIZE_MISMATCH, p, call, &d);
		return;
	}
	cache_free_as(p, call, caller);
}

EXPORT void free_sized(void *p, size_t nbytes)
{
	free_checked(p, 1, nbytes, "free_sized", CALLER);
}

EXPORT void free_aligned_sized(void *p, size_t align, size_t nbytes)
{
	free_checked(p, align, nbytes, "free_aligned_sized", CALLER);
}

EXPORT size_t malloc_usable_size(void *p)
{
	struct block b;

	if (!p)
		return 0;
	if (block_find(p, &b))
		return b.usable;
	if (next.malloc_usable_size)
		return next.malloc_usable_size(p);
	block_report(p, "malloc_usable_size");
	return 0;
}

EXPORT int malloc_trim(size_t pad)
{
	(void)pad;
	if (!cache_is_started())
		return 0;
	cache_empty_own();
	return scavenge_all() > 0;
}

/* What glibc's constants tune does not exist here: taken and without effect. */
EXPORT int mallopt(int param, int value)
{
	(void)value;
	return (param >= M_MXFAST && param <= M_KEEP)
	       || (param <= M_TRIM_THRESHOLD && param >= M_ARENA_MAX);
}

EXPORT void *spangc_malloc_noscan(size_t nbytes)
{
	if (nbytes > SIZECLASS_MAX || !cache_is_started())
		return malloc(nbytes);

	if (leaks_are_on())
		return leaks_malloc_noscan(nbytes, own_spangc_malloc_noscan, CALLER);
	if (nbytes > SIZECLASS_MAX - heap.tail_bytes)
		return malloc(nbytes);
	nbytes += heap.tail_bytes;

	void *p = cache_alloc_class(sizeclass_noscan(sizeclass_of_in(heap.classes, nbytes)));

	return p ? p : no_memory();
}

also(malloc) void *__libc_malloc(size_t nbytes);
also(calloc) void *__libc_calloc(size_t n, size_t size);
also(realloc) void *__libc_realloc(void *p, size_t nbytes);
also(free) void __libc_free(void *p);
also(memalign) void *__libc_memalign(size_t align, size_t nbytes);
also(valloc) void *__libc_valloc(size_t nbytes);
also(pvalloc) void *__libc_pvalloc(size_t nbytes);
also(reallocarray) void *__libc_reallocarray(void *p, size_t n, size_t size);
also(mallopt) int __libc_mallopt(int param, int value);
also(posix_memalign) int __posix_memalign(void **memptr, size_t align, size_t nbytes);

#define family(name) { (const void *)own_##name, found_##name }

const struct own_function malloc_family[] = {
	family(malloc),
	family(free),
	family(calloc),
	family(realloc),
	family(memalign),
	family(aligned_alloc),
	family(posix_memalign),
	family(valloc),
	family(malloc_usable_size),
	{ NULL, NULL }
};
