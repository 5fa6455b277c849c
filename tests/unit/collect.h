/* collect.h: a heap of mode gc, as preload asks for it, and marks in it. Used by unit/scan_collect.c,
 * unit/scan_dirty.c and prop/collect.c. */
#ifndef TESTS_UNIT_COLLECT_H
#define TESTS_UNIT_COLLECT_H

#include <criterion/criterion.h>
#include <string.h>

#include "core/marks.h"
#include "scan/mark.h"
#include "tests/core.h"

static void start(void)
{
	core_start_gc();
	mark_set_align(sizeof(uintptr_t));
	mark_set_workers(1);
	mark_limit_work(SIZE_MAX);
}

static void *make(size_t nbytes)
{
	void *p = core_malloc(nbytes + heap.tail_bytes);

	cr_assert_not_null(p);
	return memset(p, 0, nbytes);
}

static bool is_marked(const void *p)
{
	return marks_is_set((uintptr_t)p);
}

/* What `p` leads to. */
static __attribute__((unused)) void mark_from(const void *p)
{
	uintptr_t word = (uintptr_t)p;

	mark_range((uintptr_t)&word, (uintptr_t)(&word + 1));
	mark_drain();
}

static __attribute__((unused)) void mark_page_of(const void *p)
{
	uintptr_t page = align_down((uintptr_t)p, OS_PAGE_BYTES);

	mark_dirty(page, page + OS_PAGE_BYTES);
}

#endif
