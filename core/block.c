/* block.c: finding blocks by address, and saying what else an address is.
 *
 * Reached from preload (realloc, malloc_usable_size, sized frees) and from cache.c (a free that
 * the hot path refused). Reads the heap's tables only; no lock.
 */
#include "core/block.h"

#include "core/heap.h"
#include "core/hooks.h"
#include "core/large.h"
#include "core/record.h"
#include "core/sweep.h"

#define KEEP_BYTES 64                           /* not worth moving */
#define DOUBLE_MIN_BYTES KIB(8)
#define DOUBLE_MAX_BYTES MIB(8)

/* The granule holds none of a block, *c: or just for a moment? */
static COLD bool is_put_back(uintptr_t p, class_idx *c)
{
	if (*c != SIZECLASS_RECLAIMED || sweep_is_reclaimed(p))
		return false;
	/* relaxed: as below. */
	*c = atomic_load_explicit(heap_granule(p), memory_order_relaxed);
	return sizeclass_is_block(*c);
}

bool block_find(const void *p, struct block *b)
{
	uintptr_t at = (uintptr_t)p;
	uintptr_t granule_mask = ((uintptr_t)1 << heap.granule_shift) - 1;

	if (!heap_contains(at) || at & granule_mask)
		return false;
	/* relaxed: whoever got p from malloc got what came before it. */
	b->class = atomic_load_explicit(heap_granule(at), memory_order_relaxed);
	if (unlikely(!sizeclass_is_block(b->class)) && !is_put_back(at, &b->class))
		return false;
	b->span = heap_span(at);
	b->usable = (b->class == SIZECLASS_LARGE ? large_usable(b->span) : b->span->slot_bytes)
	            - heap.tail_bytes;
	return true;
}

bool block_keeps(const struct block *b, size_t nbytes)
{
	size_t most = b->usable <= DOUBLE_MAX_BYTES ? b->usable / 2 : b->usable / 4;

	return nbytes <= b->usable && (b->usable - nbytes <= most || b->usable <= KEEP_BYTES);
}

size_t block_grown(size_t usable, size_t nbytes)
{
	size_t more = usable + usable / 4;

	if (nbytes >= DOUBLE_MIN_BYTES && nbytes <= DOUBLE_MAX_BYTES)
		return (size_t)1 << (64 - __builtin_clzl(nbytes - 1));
	return nbytes > more ? nbytes : more;
}

bool block_fits(const struct block *b, size_t nbytes, size_t align)
{
	if (block_keeps(b, nbytes))
		return true;
	if (nbytes > b->usable)
		return false;
	if (nbytes > SIZECLASS_MAX - heap.tail_bytes || align > PAGE_BYTES)
		return b->class == SIZECLASS_LARGE && b->usable + heap.tail_bytes
		                                        == large_round(nbytes + heap.tail_bytes);
	return b->class == sizeclass_aligned(heap.classes, nbytes + heap.tail_bytes, align);
}

/* The start of the slot or large block around `p`, in `s`, which may be the record of what was
 * there before; 0 in the span's tail. */
static uintptr_t start_of(const struct span *s, uintptr_t p)
{
	if (s->class == SIZECLASS_LARGE)
		return s->base;

	unsigned slot = span_slot(s, p);

	return slot < s->nslots ? (uintptr_t)span_slot_address(s, slot) : 0;
}

bool block_is_reclaimed(const void *p)
{
	uintptr_t at = (uintptr_t)p;

	return heap_contains(at) && at % 16 == 0
	       /* relaxed: a moment's value. */
	       && atomic_load_explicit(heap_granule(at), memory_order_relaxed) == SIZECLASS_RECLAIMED
	       && sweep_is_reclaimed(at);
}

/* Who asked for the reclaimed block at p, which is the start of a slot; 0: not kept, or lost since. A
 * large one's record is gone with its span. */
static uint32_t stack_of(struct span *s, uintptr_t p)
{
	struct block b = { s, s->slot_bytes - heap.tail_bytes, s->class };

	if (!heap_has_records() || s->place == SPAN_UNUSED || s->class == SIZECLASS_LARGE)
		return 0;
	return record_get((void *)p, &b).stack;
}

/* An address in our heap. */
static enum misuse describe_ours(uintptr_t p, struct misuse_detail *d)
{
	struct span *s = heap_span_any(p);
	uintptr_t start = s ? start_of(s, p) : 0;
	struct block b;

	/* A large block's span may be gone. */
	if ((start == p || !s) && block_is_reclaimed((void *)p)) {
		d->stack = s ? stack_of(s, p) : 0;
		d->tell_stack = hooks.tell_stack;
		return MISUSE_RECLAIMED;
	}
	if (start == p)
		return MISUSE_DOUBLE_FREE;
	if (start && block_find((void *)start, &b)) {
		d->what = "interior pointer";
		d->block = (void *)start;
		d->block_bytes = b.usable;
	} else if (p & 15) {
		d->what = "misaligned pointer";
	} else {
		d->what = s ? "free memory" : "never allocated";
	}
	return MISUSE_INVALID_FREE;
}

static bool is_on_stack(uintptr_t p)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	return p >= here && p - here < MIB(8);
}

void block_report(const void *p, const char *call)
{
	struct misuse_detail d = { 0 };
	enum misuse what = MISUSE_INVALID_FREE;
	uintptr_t at = (uintptr_t)p;

	if (heap_contains(at))
		what = describe_ours(at, &d);
	else if (at < OS_PAGE_BYTES)
		d.what = "NULL page";
	else if (is_on_stack(at))
		d.what = "stack address";
	else if (at & 15)
		d.what = "misaligned pointer";
	else
		d.what = "not from this heap";
	report_misuse(what, p, call, &d);
}
