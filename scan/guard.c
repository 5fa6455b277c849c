/* guard.c: see guard.h.
 *
 * Reached from dirty_mprotect.c and, in signal handlers, from faults.c and dispatch.c. Depends on the
 * kernel, maps.h and regs_calls.h: the system call itself, for the handlers are no place for libc's.
 *
 *     guard.state[granule]  CLOSED -> OPEN, by guard_open(); -> CLOSED in a stop
 *
 * A thread that finds CLOSED unprotects, and then says OPEN; several may at once: a system call can't wait
 * for another thread as a store waits for a fault. No closing comes between the two: handlers, and who
 * opens in no handler, block the stop's signal, and nothing is closed while a thread has not answered
 * (dirty_mprotect.c). If it did, the granule would be called open, and not be, and stores to it would be
 * taken for the program's own faults.
 */
#include "scan/guard.h"

#include "core/os.h"
#include "scan/maps.h"
#include "scan/regs.h"

#include <string.h>
#include <sys/syscall.h>

#define NO_TSAN __attribute__((no_sanitize("thread")))

#define OPENINGS_MAX 8000
#define CLOSINGS_MAX 256                        /* of single parts; more: all in one call */
#define PIECE_BYTES MIB(2)                      /* of guard_end(): 15 us each */
#define NFOREIGN 256
#define MODE_READ 1                             /* PROT_READ; PROT_WRITE is 2 */
#define MODE_WRITE 3

enum state { CLOSED, OPEN };

static struct {
	/* Changed in a stop. */
	bool has_uring;                         /* in the last one */
	uintptr_t from, to;
	uintptr_t limit;                        /* what the program protects up to here is known */
	_Atomic uint8_t *_Atomic state;
	size_t room;                            /* granules */

	/* Any thread, atomic. */
	_Atomic bool is_closed;
	_Atomic bool is_opening_all, is_all_open;
	_Atomic uint32_t nopenings;             /* of this time */
	_Atomic uint64_t nopened;

	/* Sorted by nothing; [0, nforeign). */
	_Atomic uint32_t nforeign;
	struct {
		_Atomic uintptr_t from, to;
	} foreign[NFOREIGN];
} guard;

bool guard_is_closed(void)
{
	/* acquire: pairs with the release in guard_close(). */
	return atomic_load_explicit(&guard.is_closed, memory_order_acquire);
}

NO_TSAN bool guard_covers(uintptr_t p)
{
	return p - guard.from < guard.to - guard.from;
}

uint64_t guard_nopened(void)
{
	/* relaxed: a counter. */
	return atomic_load_explicit(&guard.nopened, memory_order_relaxed);
}

NO_TSAN static long protect(uintptr_t from, uintptr_t to, int mode)
{
	return from < to ? regs_syscall(SYS_mprotect, (long)from, (long)(to - from), mode, 0) : 0;
}

/* [from, to) but for what the program has protected itself. */
NO_TSAN static long set_mode(uintptr_t from, uintptr_t to, int mode)
{
	/* acquire: pairs with the release in guard_note_foreign(). */
	uint32_t n = atomic_load_explicit(&guard.nforeign, memory_order_acquire);

	while (from < to) {
		uintptr_t end = to, next = to;

		for (uint32_t i = 0; i < n && i < NFOREIGN; i++) {
			/* relaxed: ordered by the count. */
			uintptr_t f = atomic_load_explicit(&guard.foreign[i].from, memory_order_relaxed);
			uintptr_t t = atomic_load_explicit(&guard.foreign[i].to, memory_order_relaxed);

			if (t > from && f < end) {
				end = f > from ? f : from;
				next = t;
			}
		}

		long error = protect(from, end, mode);

		if (error)
			return error;
		from = next;
	}
	return 0;
}

NO_TSAN static bool is_foreign(uintptr_t from, uintptr_t to, uint32_t n)
{
	/* relaxed, both: as in set_mode(). */
	for (uint32_t i = 0; i < n; i++) {
		if (atomic_load_explicit(&guard.foreign[i].from, memory_order_relaxed) <= from
		    && atomic_load_explicit(&guard.foreign[i].to, memory_order_relaxed) >= to)
			return true;
	}
	return false;
}

NO_TSAN void guard_note_foreign(uintptr_t from, uintptr_t to)
{
	if (to <= guard.from || from >= guard.limit)
		return;
	from = align_down(from, OS_PAGE_BYTES);
	to = align_up(to, OS_PAGE_BYTES);

	/* relaxed: its own slot. */
	uint32_t i = atomic_load_explicit(&guard.nforeign, memory_order_relaxed);

	guard_open(from, to);
	if (is_foreign(from, to, i))
		return;
	if (i >= NFOREIGN) {                    /* the last one becomes both, and what is between */
		uintptr_t f = atomic_load_explicit(&guard.foreign[--i].from, memory_order_relaxed);
		uintptr_t t = atomic_load_explicit(&guard.foreign[i].to, memory_order_relaxed);

		from = f < from ? f : from;
		to = t > to ? t : to;
		guard_open(from, to);
	}
	atomic_store_explicit(&guard.foreign[i].from, from, memory_order_relaxed);
	atomic_store_explicit(&guard.foreign[i].to, to, memory_order_relaxed);
	/* release: pairs with the acquire in set_mode(). A second thread at the same moment may lose
	 * its range: then that is writable when all is. */
	atomic_store_explicit(&guard.nforeign, i + 1, memory_order_release);
}

NO_TSAN static _Atomic uint8_t *state_of(size_t granule)
{
	/* acquire: pairs with the release in make_room(). */
	return atomic_load_explicit(&guard.state, memory_order_acquire) + granule;
}

/* A table for so many granules, with what is known. Old ones stay mapped: a thread that did not stop
 * may use one. */
static bool make_room(size_t n)
{
	if (n <= guard.room)
		return true;

	size_t room = align_up(2 * n, OS_PAGE_BYTES);
	void *p = os_map(room);

	if (!p)
		return false;
	if (guard.room)
		memcpy(p, (void *)state_of(0), guard.room);
	guard.room = room;
	/* release: it is zero. */
	atomic_store_explicit(&guard.state, p, memory_order_release);
	return true;
}

static size_t ngranules(void)
{
	return (guard.to - guard.from + GUARD_GRANULE - 1) / GUARD_GRANULE;
}

NO_TSAN static bool is_in_state(size_t granule, enum state state)
{
	/* acquire: the kernel has done what the state tells. */
	return atomic_load_explicit(state_of(granule), memory_order_acquire) == state;
}

NO_TSAN bool guard_is_closed_at(uintptr_t p)
{
	return guard_is_closed() && is_in_state((p - guard.from) / GUARD_GRANULE, CLOSED)
	       /* acquire: pairs with the release in guard_open_all(). */
	       && !atomic_load_explicit(&guard.is_all_open, memory_order_acquire);
}

NO_TSAN static void set_state(size_t first, size_t limit, enum state state)
{
	/* relaxed: who reads it has stopped this thread, or stored the same. */
	for (size_t i = first; i < limit; i++)
		atomic_store_explicit(state_of(i), (uint8_t)state, memory_order_relaxed);
}

static bool see_mapping(const struct mapping *m, void *arg)
{
	uintptr_t from = m->from > guard.from ? m->from : guard.from;
	uintptr_t to = m->to < guard.limit ? m->to : guard.limit;

	(void)arg;
	if (from < to && !(m->is_readable && m->is_writable && !m->is_executable))
		guard_note_foreign(from, to);
	guard.has_uring |= !strcmp(m->name, "anon_inode:[io_uring]");
	return true;
}

/* Each time anew: the program may have done this, or undone it, behind our back. */
static bool look(void)
{
	guard.has_uring = false;
	/* relaxed: in a stop. */
	atomic_store_explicit(&guard.nforeign, 0, memory_order_relaxed);
	return maps_visit(see_mapping, NULL) && !guard.has_uring;
}

bool guard_has_uring(void)
{
	return guard.has_uring;
}

static void open_foreign(void)
{
	/* relaxed, all: in a stop. */
	for (uint32_t i = 0; i < atomic_load_explicit(&guard.nforeign, memory_order_relaxed); i++)
		guard_open(atomic_load_explicit(&guard.foreign[i].from, memory_order_relaxed),
		           atomic_load_explicit(&guard.foreign[i].to, memory_order_relaxed));
}

static bool close_all(void)
{
	set_state(0, ngranules(), CLOSED);
	/* relaxed, all: in a stop. */
	atomic_store_explicit(&guard.nopenings, 0, memory_order_relaxed);
	atomic_store_explicit(&guard.is_opening_all, false, memory_order_relaxed);
	atomic_store_explicit(&guard.is_all_open, false, memory_order_relaxed);
	/* release: pairs with the acquire in guard_is_closed(). */
	atomic_store_explicit(&guard.is_closed, true, memory_order_release);
	if (!set_mode(guard.from, guard.to, MODE_READ)) {
		open_foreign();
		return true;
	}
	guard_open_all();
	return false;
}

NO_TSAN void guard_fork_child(void)
{
	if (guard_is_closed())
		set_mode(guard.from, guard.to, MODE_WRITE);
	/* relaxed: one thread. */
	atomic_store_explicit(&guard.is_closed, false, memory_order_relaxed);
}

bool guard_close(uintptr_t from, uintptr_t to, uintptr_t limit, void (*spare)(void))
{
	guard_fork_child();                     /* what is closed would look like the program's */
	guard.from = from;
	guard.to = to;
	guard.limit = limit > to ? limit : to;
	if (!make_room(ngranules()) || !look())
		return false;
	spare();
	return close_all();
}

/* The next run of granules from *at on that are open, or not: [*at, limit). */
static size_t run_end(size_t at, size_t n, bool is_closed)
{
	while (at < n && is_in_state(at, CLOSED) == is_closed)
		at++;
	return at;
}

static bool close_parts(void)
{
	size_t n = ngranules();

	for (size_t at = run_end(0, n, true); at < n; at = run_end(at, n, true)) {
		size_t end = run_end(at, n, false);
		uintptr_t from = guard.from + at * GUARD_GRANULE, to = guard.from + end * GUARD_GRANULE;

		set_state(at, end, CLOSED);
		if (set_mode(from, to < guard.to ? to : guard.to, MODE_READ))
			return false;
		at = end;
	}
	return true;
}

/* What the heap has got; its first granule may be the last one of before, and is closed as a whole. */
static bool extend(uintptr_t to)
{
	uintptr_t old = guard.to;
	size_t n = (to - guard.from + GUARD_GRANULE - 1) / GUARD_GRANULE;

	if (to <= old)
		return true;
	if (!make_room(n))
		return false;
	set_state((old - guard.from) / GUARD_GRANULE, n, CLOSED);
	guard.to = to;
	if (guard.limit < to)
		guard.limit = to;
	/* relaxed: in a stop. */
	if (atomic_load_explicit(&guard.is_opening_all, memory_order_relaxed))
		return true;                    /* and so is this */
	return !set_mode(align_down(old - guard.from, GUARD_GRANULE) + guard.from, to, MODE_READ);
}

bool guard_close_more(uintptr_t to, void (*spare)(void))
{
	spare();

	bool is_closed = extend(to);

	open_foreign();
	return is_closed;
}

bool guard_close_again(uintptr_t to, void (*spare)(void))
{
	if (guard.limit < to)
		guard.limit = to;
	spare();
	/* relaxed: in a stop. */
	if (!extend(to))
		return false;
	if (atomic_load_explicit(&guard.is_opening_all, memory_order_relaxed)
	    || atomic_load_explicit(&guard.nopenings, memory_order_relaxed) > CLOSINGS_MAX
	    || atomic_load_explicit(&guard.nforeign, memory_order_relaxed))
		return close_all();
	if (!close_parts())
		return close_all();
	atomic_store_explicit(&guard.nopenings, 0, memory_order_relaxed);
	return true;
}

/* Neither of the flags is set before all can be written. */
NO_TSAN void guard_open_all(void)
{
	/* relaxed: a stop comes before it is read. */
	atomic_store_explicit(&guard.is_opening_all, true, memory_order_relaxed);
	set_mode(guard.from, guard.to, MODE_WRITE);
	/* release: pairs with the acquire in guard_open(). */
	atomic_store_explicit(&guard.is_all_open, true, memory_order_release);
}

NO_TSAN static void open_run(size_t first, size_t limit)
{
	uintptr_t from = guard.from + first * GUARD_GRANULE, to = guard.from + limit * GUARD_GRANULE;

	/* relaxed, both: counters. */
	atomic_fetch_add_explicit(&guard.nopened, 1, memory_order_relaxed);
	if (atomic_fetch_add_explicit(&guard.nopenings, 1, memory_order_relaxed) >= OPENINGS_MAX
	    || set_mode(from, to < guard.to ? to : guard.to, MODE_WRITE)) {
		guard_open_all();
		return;
	}
	/* release: pairs with the acquire in is_in_state(). */
	for (size_t i = first; i < limit; i++)
		atomic_store_explicit(state_of(i), OPEN, memory_order_release);
}

NO_TSAN void guard_open(uintptr_t from, uintptr_t to)
{
	if (from < guard.from)
		from = guard.from;
	if (to > guard.to)
		to = guard.to;
	/* acquire: pairs with the release in guard_open_all(). */
	if (from >= to || !guard_is_closed()
	    || atomic_load_explicit(&guard.is_all_open, memory_order_acquire))
		return;

	size_t at = (from - guard.from) / GUARD_GRANULE;
	size_t limit = (to - 1 - guard.from) / GUARD_GRANULE + 1;

	while (at < limit) {
		size_t end = at;

		while (end < limit && is_in_state(end, CLOSED))
			end++;
		if (end > at)
			open_run(at, end);
		at = end + 1;
	}
}

void guard_end(void)
{
	if (!guard_is_closed())
		return;
	for (uintptr_t at = guard.from; at < guard.to; at += PIECE_BYTES) {
		uintptr_t end = guard.to - at > PIECE_BYTES ? at + PIECE_BYTES : guard.to;

		/* relaxed: what is open needs no call. */
		if (atomic_load_explicit(&guard.is_all_open, memory_order_relaxed))
			break;
		if (set_mode(at, end, MODE_WRITE)) {    /* no mapping left; all at once divides none */
			set_mode(guard.from, guard.to, MODE_WRITE);
			break;
		}
	}
	/* release: all can be written. */
	atomic_store_explicit(&guard.is_closed, false, memory_order_release);
}

void guard_visit_open(void (*fn)(uintptr_t from, uintptr_t to, void *arg), void *arg)
{
	size_t n = ngranules();

	fn(guard.to, UINTPTR_MAX, arg);
	/* relaxed: in a stop. */
	if (atomic_load_explicit(&guard.is_opening_all, memory_order_relaxed)) {
		fn(guard.from, guard.to, arg);
		return;
	}
	for (size_t at = run_end(0, n, true); at < n; at = run_end(at, n, true)) {
		size_t end = run_end(at, n, false);
		uintptr_t to = guard.from + end * GUARD_GRANULE;

		fn(guard.from + at * GUARD_GRANULE, to < guard.to ? to : guard.to, arg);
		at = end;
	}
}
