/* leaks.c: blocks with records, for the malloc family in mode leaks.
 *
 * Reached from malloc.c where the hot path found nothing: in this mode it never finds anything. A
 * slot is taken that has room for the record behind what was asked for. So has a large block, whose
 * record is elsewhere: the address behind a block's end is its own.
 *
 * A slot's record is written before the slot is known as allocated: who stops the world sees both.
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
#include "scan/maps.h"
#include "scan/modules.h"
#include "scan/reclaimed.h"
#include "scan/regs.h"
#include "scan/roots.h"
#include "scan/sample.h"
#include "scan/stacks.h"
#include "scan/suppress.h"
#include "scan/thread_names.h"
#include "scan/threads.h"

#include <errno.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

#define FIRST_STACK_BYTES MIB(8)                /* of the first thread; the kernel keeps them free */

_Thread_local unsigned leaks_ignored;

/* A call of the malloc family. */
struct call {
	const void *function, *caller;
	struct regs_call from;
};

/* In a function that malloc.c called. */
#define CALL(function, caller) { function, caller, regs_caller(__builtin_frame_address(0)) }

static SLOW uint32_t stack_of(const struct call *call)
{
	return stacks_take_from(call->function, call->caller, &call->from);
}

/* Blocks whose stack is not taken are told from others by that, and by birth 0: sampling is to cost
 * little, and the clock takes as long as all the rest. */
HOT struct record record_of(size_t nbytes, const struct call *call)
{
	struct record r = { .nbytes = nbytes, .is_ignored = leaks_ignored > 0 };

	if (knobs.stacks == KNOB_OFF || (knobs.stacks != KNOB_STACKS_ALL && !sample_takes(nbytes)))
		return r;
	r.stack = stack_of(call);
	r.thread = thread_names_self();
	r.birth = (uint16_t)record_birth_now();
	return r;
}

/* --- slots --- */

static size_t slot_usable(class_idx c)
{
	return sizeclass_set16.class[c].slot_bytes - RECORD_BYTES;
}

/* The magazine is empty. */
static SLOW void *slot_slow(class_idx c, struct record r)
{
	void *p = cache_alloc_class(c);

	if (p)
		record_set_slot(p, slot_usable(c), r);
	return p;
}

HOT void *slot(class_idx c, size_t nbytes, const struct call *call)
{
	struct record r = record_of(nbytes, call);
	void *p = cache_take_slot(c);

	if (unlikely(!p))
		return slot_slow(c, r);
	record_set_slot(p, slot_usable(c), r);
	atomic_signal_fence(memory_order_release);      /* first the record */
	cache_hand_out(p, c);
	return p;
}

/* Class of the slots for it; SIZECLASS_NONE: it is a large block. */
static class_idx class_for(size_t align, size_t nbytes)
{
	if (nbytes > SIZECLASS_MAX - RECORD_BYTES || align > PAGE_BYTES)
		return SIZECLASS_NONE;
	return sizeclass_aligned(heap.classes, nbytes + RECORD_BYTES, align);
}

/* --- large blocks --- */

static void *noted(void *p, size_t nbytes, const struct call *call)
{
	struct block b;

	if (p && block_find(p, &b))
		record_set(p, &b, record_of(nbytes, call));
	return p;
}

static SLOW void *large(size_t align, size_t room, bool is_zero, const void *caller)
{
	if (room >= PTRDIFF_MAX || !cache_is_started())
		return NULL;

	void *p = is_zero ? large_calloc(room + RECORD_BYTES) : large_alloc(room + RECORD_BYTES, align);

	scavenge_poll(caller);
	return p;
}

/* --- the family --- */

static COLD void *no_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

/* No memory, or the library stands down. */
static COLD void *elsewhere(size_t align, size_t nbytes)
{
	if (next.malloc)
		return align > 1 ? next.memalign(align, nbytes) : next.malloc(nbytes);
	return no_memory();
}

PLACED void *leaks_malloc(size_t nbytes, const void *function, const void *caller)
{
	struct call call = CALL(function, caller);
	void *p;

	if (likely(nbytes <= SIZECLASS_MAX - RECORD_BYTES))
		p = slot(sizeclass_of(nbytes + RECORD_BYTES), nbytes, &call);
	else
		p = noted(large(1, nbytes, false, caller), nbytes, &call);
	return likely(p != NULL) ? p : elsewhere(1, nbytes);
}

/* With room for `room` bytes, of which nbytes were asked for. */
static void *alloc_room(size_t align, size_t room, size_t nbytes, const struct call *call)
{
	class_idx c = class_for(align, room);

	return c ? slot(c, nbytes, call)
	         : noted(large(align, room, false, call->caller), nbytes, call);
}

void *leaks_memalign(size_t align, size_t nbytes, const void *function, const void *caller)
{
	struct call call = CALL(function, caller);
	void *p = alloc_room(align, nbytes, nbytes, &call);

	return p ? p : elsewhere(align, nbytes);
}

void *leaks_calloc(size_t nbytes, const void *function, const void *caller)
{
	struct call call = CALL(function, caller);
	void *p;

	if (likely(nbytes <= SIZECLASS_MAX - RECORD_BYTES)) {
		p = slot(sizeclass_of(nbytes + RECORD_BYTES), nbytes, &call);
		if (likely(p != NULL))
			return memset(p, 0, nbytes);
	} else {
		p = noted(large(1, nbytes, true, caller), nbytes, &call);
	}
	if (p)
		return p;
	return next.calloc ? next.calloc(nbytes, 1) : no_memory();
}

void *leaks_malloc_noscan(size_t nbytes, const void *function, const void *caller)
{
	struct call call = CALL(function, caller);
	class_idx c = class_for(1, nbytes);
	void *p = c ? slot(sizeclass_noscan(c), nbytes, &call)
	            : noted(large(1, nbytes, false, caller), nbytes, &call);

	return p ? p : elsewhere(1, nbytes);
}

static void *resize_large(void *p, const struct block *b, size_t nbytes, const struct call *call)
{
	if (nbytes >= PTRDIFF_MAX)
		return NULL;

	record_tell_freed(p, b);

	void *to = large_resize(p, nbytes + RECORD_BYTES);

	scavenge_poll(call->caller);
	return noted(to, nbytes, call);
}

static void *move(void *p, const struct block *b, size_t nbytes, const struct call *call)
{
	size_t grown = nbytes > b->usable ? block_grown(b->usable, nbytes) - RECORD_BYTES : 0;
	size_t room = grown > nbytes ? grown : nbytes;
	void *to = alloc_room(1, room, nbytes, call);

	if (!to)
		to = alloc_room(1, nbytes, nbytes, call);
	if (!to)
		return NULL;
	memcpy(to, p, nbytes < b->usable ? nbytes : b->usable);
	cache_free(p);
	return to;
}

static void *resize(void *p, const struct block *b, size_t nbytes, const struct call *call)
{
	if (block_keeps(b, nbytes)) {
		record_tell_freed(p, b);
		record_set(p, b, record_of(nbytes, call));
		return p;
	}
	if (b->class == SIZECLASS_LARGE && class_for(1, nbytes) == SIZECLASS_NONE)
		return resize_large(p, b, nbytes, call);
	return move(p, b, nbytes, call);
}

void *leaks_realloc(void *p, size_t nbytes, const void *function, const void *caller)
{
	struct call call = CALL(function, caller);
	struct block b;
	void *to = block_find(p, &b) ? resize(p, &b, nbytes, &call) : NULL;

	return to ? to : no_memory();
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
	hooks.tell_stack = reclaimed_tell_stack;
	if (knobs.stacks == KNOB_OFF)
		return;
	if (knobs.stacks != KNOB_STACKS_ALL)
		sample_start(knobs.stacks, *(const uint64_t *)getauxval(AT_RANDOM));
	if (!stacks_start((unsigned)knobs.stack_depth))
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

void leaks_start_unwinding(void)
{
	stacks_unwind_fn *unwind;
	struct mapping stack;

	if (knobs.stacks == KNOB_OFF || knobs.stack_depth == 1)
		return;
	stacks_walk();
	if (maps_find((uintptr_t)__builtin_frame_address(0), &stack))
		stacks_thread_begins(stack.to - FIRST_STACK_BYTES, stack.to);
	*(void **)&unwind = init_find_in("libunwind.so.8", "unw_backtrace");
	if (unwind) {
		unwind((void *[1]){ NULL }, 1);         /* it allocates at its first call */
		stacks_unwind_with(unwind);
		imports_add(&iterate_import, 1);
	} else {
		report_line("libunwind.so.8 is not installed: some stacks of leaks end early", NULL);
	}
}

void leaks_start_looking(void)
{
	leaks_ignored++;                        /* what this allocates is not the program's */
	execs_start();
	leaks_start_unwinding();
	if (!looking_start()) {
		report_line("no report of leaks: threads can't be stopped", NULL);
		leaks_ignored--;
		return;
	}
	if (!modules_start())
		report_line("no memory for names of modules", NULL);
	if (knobs.suppressions)
		suppress_read((const char *)(uintptr_t)knobs.suppressions);
	reports_start();
	exits_start();
	reporter_start();
	leaks_ignored--;
}
