/* leaks.c: blocks with records, for the malloc family in mode leaks.
 *
 * Reached from malloc.c where the hot path found nothing: in this mode it never finds anything. A
 * slot is taken that has room for the record behind what was asked for; a large block is asked for
 * with one byte more, so that the address behind its end is still its own.
 */
#include "preload/leaks.h"

#include "core/cache.h"
#include "core/hooks.h"
#include "core/knobs.h"
#include "core/large.h"
#include "core/record.h"
#include "core/report.h"
#include "core/scavenge.h"
#include "preload/imports.h"
#include "preload/preload.h"
#include "preload/reporter.h"
#include "scan/hidden.h"
#include "scan/leaks.h"
#include "scan/loaded.h"
#include "scan/modules.h"
#include "scan/roots.h"
#include "scan/stacks.h"
#include "scan/thread_names.h"
#include "scan/threads.h"

#include <link.h>
#include <string.h>

_Thread_local unsigned leaks_ignored;

/* Class of the slots for it; SIZECLASS_NONE: it is a large block. */
static class_idx class_for(size_t align, size_t nbytes)
{
	if (nbytes > SIZECLASS_MAX - RECORD_BYTES || align > PAGE_BYTES)
		return SIZECLASS_NONE;
	return sizeclass_aligned(heap.classes, nbytes + RECORD_BYTES, align);
}

static void note(void *p, const struct block *b, size_t nbytes, const void *function,
                 const void *caller)
{
	uint32_t stack = STACKS_NONE;

	if (knobs.stacks == KNOB_STACKS_ALL)
		stack = stacks_take(function, caller);
	record_set(p, b, (struct record){ .nbytes = nbytes, .stack = stack,
	                                   .thread = thread_names_self(),
	                                   .birth = (uint16_t)record_birth_now(),
	                                   .is_ignored = leaks_ignored > 0 });
}

static void *noted(void *p, size_t nbytes, const void *function, const void *caller)
{
	struct block b;

	if (p && block_find(p, &b))
		note(p, &b, nbytes, function, caller);
	return p;
}

static void *alloc_large(size_t align, size_t nbytes, bool is_zero, const void *caller)
{
	if (nbytes >= PTRDIFF_MAX)
		return NULL;

	void *p = is_zero ? large_calloc(nbytes + 1) : large_alloc(nbytes + 1, align);

	scavenge_poll(caller);
	return p;
}

/* With room for `room` bytes, of which nbytes were asked for. */
static void *alloc_room(size_t align, size_t room, size_t nbytes, const void *function,
                        const void *caller)
{
	class_idx c = class_for(align, room);
	void *p = c ? cache_alloc_class(c) : alloc_large(align, room, false, caller);

	return noted(p, nbytes, function, caller);
}

void *leaks_alloc(size_t align, size_t nbytes, const void *function, const void *caller)
{
	return alloc_room(align, nbytes, nbytes, function, caller);
}

void *leaks_calloc(size_t nbytes, const void *function, const void *caller)
{
	class_idx c = class_for(1, nbytes);
	void *p = c ? cache_alloc_class(c) : alloc_large(1, nbytes, true, caller);

	if (p && c)
		memset(p, 0, nbytes);
	return noted(p, nbytes, function, caller);
}

void *leaks_alloc_noscan(size_t nbytes, const void *function, const void *caller)
{
	class_idx c = class_for(1, nbytes);

	if (!c)
		return leaks_alloc(1, nbytes, function, caller);
	return noted(cache_alloc_class(sizeclass_noscan(c)), nbytes, function, caller);
}

static void *resize_large(void *p, const struct block *b, size_t nbytes, const void *function,
                          const void *caller)
{
	if (nbytes >= PTRDIFF_MAX)
		return NULL;

	record_tell_freed(p, b);

	void *to = large_resize(p, nbytes + 1);

	scavenge_poll(caller);
	return noted(to, nbytes, function, caller);
}

static void *move(void *p, const struct block *b, size_t nbytes, const void *function,
                  const void *caller)
{
	size_t grown = nbytes > b->usable ? block_grown(b->usable, nbytes) - RECORD_BYTES : 0;
	size_t room = grown > nbytes ? grown : nbytes;
	void *to = alloc_room(1, room, nbytes, function, caller);

	if (!to)
		to = leaks_alloc(1, nbytes, function, caller);
	if (!to)
		return NULL;
	memcpy(to, p, nbytes < b->usable ? nbytes : b->usable);
	cache_free(p);
	return to;
}

void *leaks_resize(void *p, const struct block *b, size_t nbytes, const void *function,
                   const void *caller)
{
	/* The address behind a large block's end stays its own. */
	if (block_keeps(b, nbytes) && (b->class != SIZECLASS_LARGE || nbytes < b->usable)) {
		record_tell_freed(p, b);
		note(p, b, nbytes, function, caller);
		return p;
	}
	if (b->class == SIZECLASS_LARGE && class_for(1, nbytes) == SIZECLASS_NONE)
		return resize_large(p, b, nbytes, function, caller);
	return move(p, b, nbytes, function, caller);
}

bool leaks_asked_for(const void *p, const struct block *b, size_t nbytes)
{
	return leaks_are_on() && record_get(p, b).nbytes == nbytes;
}

void leaks_start(void)
{
	record_start();
	leaks_keep_memory();
	thread_names_start();
	hooks.freed_reported = hidden_freed;
	if (knobs.stacks == KNOB_STACKS_ALL && !stacks_start((unsigned)knobs.stack_depth))
		report_line("no memory for stacks: leaks are reported without", NULL);
}

static struct import iterate_import;

/* The unwinder's must not wait for a lock that is lost; everybody else's is as it was. */
static int our_iterate(loaded_fn *fn, void *arg)
{
	if (unlikely(loaded_is_lockless()) && stacks_is_unwinding())
		return loaded_visit(fn, arg);
	return ((int (*)(loaded_fn *fn, void *arg))iterate_import.real)(fn, arg);
}

static struct import iterate_import = { "dl_iterate_phdr", (void *)our_iterate, NULL };

static void start_unwinding(void)
{
	stacks_unwind_fn *unwind;

	if (knobs.stacks != KNOB_STACKS_ALL || knobs.stack_depth == 1)
		return;
	*(void **)&unwind = init_find_in("libunwind.so.8", "unw_backtrace");
	if (unwind) {
		unwind((void *[1]){ NULL }, 1);         /* it allocates at its first call */
		stacks_unwind_with(unwind);
		imports_add(&iterate_import, 1);
	} else {
		report_line("libunwind.so.8 is not installed: stacks of leaks have one frame", NULL);
	}
}

static bool is_own(const struct dl_phdr_info *info)
{
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_LOAD
		    && (uintptr_t)&heap - (info->dlpi_addr + ph->p_vaddr) < ph->p_memsz)
			return true;
	}
	return false;
}

/* Our own variables hold addresses of blocks. */
static int exclude_own(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	if (!is_own(info))
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t from = info->dlpi_addr + ph->p_vaddr;

		if (ph->p_type == PT_LOAD && ph->p_flags & PF_W)
			roots_exclude(from, from + ph->p_memsz);
	}
	return 1;
}

void leaks_start_looking(void)
{
	if (!scan_threads_start()) {
		report_line("no report of leaks: threads can't be stopped", NULL);
		return;
	}
	eintr_start();
	signals_start();
	execs_start();
	threads_start();
	start_unwinding();
	imports_redirect();
	dl_iterate_phdr(exclude_own, NULL);
	if (!modules_start())
		report_line("no memory for names of modules", NULL);
	reports_start();
	exits_start();
	reporter_start();
}
