/* roots.c: see roots.h.
 *
 * Reached from the leak finder and the collector while the world is stopped; roots_add() and
 * roots_remove() from preload. Depends on threads.c, maps.c, present.c and kernel.c, and on heap.h
 * and meta.h for what is ours. LOCK_ROOTS guards what the program added, and is taken with signals
 * blocked: nobody is stopped while he holds it.
 *
 * Our own memory is known by its name ("[anon:spangc ...") and, because kernels may be built without
 * names, by its addresses.
 */
#include "scan/roots.h"

#include "core/heap.h"
#include "core/lock.h"
#include "core/meta.h"
#include "core/sigmask.h"
#include "scan/kernel.h"
#include "scan/maps.h"
#include "scan/own.h"
#include "scan/present.h"
#include "scan/ranges.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the program added, or what is none of its: never unmapped, used again. */
struct note {
	struct note *next;
	uintptr_t from, to;
	unsigned n;                             /* times added; 0: unused */
};

static struct {
	struct lock lock;

	/* The lock; read while the world is stopped. */
	struct note *added, *excluded;
} noted = { .lock = LOCK_INIT(LOCK_ROOTS) };

/* Of one visit. */
struct visit {
	scan_range_fn *fn;
	void *arg;
	struct ranges *outside;                 /* no roots */
	struct mapping held;                    /* may be what the loader protected */
	bool has_held;
	bool is_unsafe;                         /* somebody runs on: mappings may vanish */
	bool is_of_shared;                      /* only these */
};

static struct ranges no_roots, added;
static bool heap_is_protected;                  /* some of it, against reading */
static bool was_running;                        /* during the last visit */

static struct note *find_note(struct note *n, uintptr_t from, uintptr_t to)
{
	while (n && !(n->n && n->from == from && n->to == to))
		n = n->next;
	return n;
}

static bool add_note(struct note **list, uintptr_t from, uintptr_t to)
{
	struct note *n = find_note(*list, from, to);

	for (struct note *free = *list; !n && free; free = free->next)
		n = free->n ? NULL : free;
	if (!n) {
		n = meta_alloc(sizeof *n, sizeof(void *));
		if (!n)
			return false;
		n->next = *list;
		*list = n;
	}
	n->from = from;
	n->to = to;
	n->n++;
	return true;
}

static void enter(struct sigmask *saved)
{
	sigmask_block(saved);
	lock_take(&noted.lock);
}

static void leave(const struct sigmask *saved)
{
	lock_drop(&noted.lock);
	sigmask_restore(saved);
}

bool roots_add(const void *p, size_t nbytes)
{
	struct sigmask saved;

	enter(&saved);

	bool is_added = add_note(&noted.added, (uintptr_t)p, (uintptr_t)p + nbytes);

	leave(&saved);
	return is_added;
}

bool roots_remove(const void *p, size_t nbytes)
{
	struct sigmask saved;

	enter(&saved);

	struct note *n = find_note(noted.added, (uintptr_t)p, (uintptr_t)p + nbytes);

	if (n)
		n->n--;
	leave(&saved);
	return n;
}

void roots_exclude(uintptr_t from, uintptr_t to)
{
	struct sigmask saved;

	enter(&saved);
	add_note(&noted.excluded, from, to);
	leave(&saved);
}

void roots_fork_child(void)
{
	lock_reset_after_fork(&noted.lock);
}

/* A kernel without memory for the list: then somewhat too much is a root. */
static void exclude(uintptr_t from, uintptr_t to, void *arg)
{
	ranges_add(arg, from, to);
}

static void exclude_table(const struct meta_table *t, struct ranges *r)
{
	exclude(t->region.base, t->region.base + t->committed, r);
}

static void collect_ours(struct ranges *r)
{
	/* relaxed: the world is stopped. */
	exclude(heap.base, heap.base + atomic_load_explicit(&heap.nbytes, memory_order_relaxed), r);
	exclude_table(&heap.granule_table, r);
	exclude_table(&heap.mark_table, r);
	exclude_table(&heap.class_table, r);
	exclude_table(&heap.page_table, r);
	exclude_table(&heap.chunk_table, r);
	exclude_table(&heap.arena_table, r);
	meta_visit_blocks(exclude, r);
}

/* The lists themselves may move when this is added. */
static void exclude_own(void)
{
	const struct range *before;

	do {
		before = no_roots.range;
		own_visit(exclude, &no_roots);
	} while (no_roots.range != before);
}

/* What was noted, as it is now. */
static void copy_notes(void)
{
	ranges_clear(&added);
	for (const struct note *n = noted.added; n; n = n->next) {
		if (n->n)
			ranges_add(&added, n->from, n->to);
	}
	for (const struct note *n = noted.excluded; n; n = n->next)
		exclude(n->from, n->to, &no_roots);
}

static bool begins_with(const char *text, const char *head)
{
	return strncmp(text, head, strlen(head)) == 0;
}

static bool ends_with(const char *text, const char *tail)
{
	size_t n = strlen(text), ntail = strlen(tail);

	return n >= ntail && memcmp(text + n - ntail, tail, ntail) == 0;
}

static bool is_regular(const char *path)
{
	struct stat s;
	int kept = errno;
	bool is = syscall(SYS_newfstatat, AT_FDCWD, path, &s, AT_NO_AUTOMOUNT) == 0
	          && S_ISREG(s.st_mode);

	errno = kept;
	return is;
}

/* Files are there too: in memory, of huge pages. Shared mappings are read by copy, and memory of a
 * device is refused then: so what is deleted, and can't be looked at, may be read. */
static bool is_device(const struct mapping *m)
{
	if (begins_with(m->name, "anon_inode:"))
		return true;
	return begins_with(m->name, "/dev/") && !begins_with(m->name, "/dev/shm/")
	       && !begins_with(m->name, "/dev/zero") && !is_regular(m->name)
	       && !(m->is_shared && ends_with(m->name, " (deleted)"));
}

static bool is_ours(const char *name)
{
	return begins_with(name, "[anon:spangc") || begins_with(name, "[anon_shmem:spangc");
}

static void show_mapping(struct visit *v, const struct mapping *m)
{
	uintptr_t from = m->from;
	struct range part;

	while (ranges_next_outside(v->outside, &from, m->to, &part))
		present_visit(m, part.from, part.to, v->is_unsafe, v->fn, v->arg);
}

/* Of a module: what is read-only now and directly before what may be written. */
static bool is_relocated(const struct mapping *before, const struct mapping *m)
{
	return before->to == m->from && m->is_writable && !m->is_shared
	       && (m->inode == before->inode || m->inode == 0);
}

/* Only this process could have written it, before it was protected. */
static bool is_shared_memory(const char *name)
{
	return begins_with(name, "/dev/zero") || begins_with(name, "[anon_shmem:");
}

static bool may_hold(const struct mapping *m)
{
	if (m->is_shared)
		return m->is_readable && (m->is_writable || is_shared_memory(m->name));
	if (m->inode == 0)
		return !begins_with(m->name, "[v");     /* the kernel's */
	return m->is_writable || present_tells_written();
}

/* As far as it is there: the program may have unmapped it, or protected it. */
static void show_added(const struct visit *v, const struct mapping *m)
{
	struct mapping named = *m;

	named.name = "added";
	for (size_t i = 0; i < added.n; i++) {
		const struct range *r = &added.range[i];

		if (r->from < m->to && m->from < r->to)
			present_visit(&named, r->from > m->from ? r->from : m->from,
			              r->to < m->to ? r->to : m->to, v->is_unsafe, v->fn, v->arg);
	}
}

bool roots_heap_is_protected(void)
{
	return heap_is_protected;
}

/* As of the last visit. */
static bool has_uring;

bool roots_has_uring(void)
{
	return has_uring || kernel_has_uring();
}

static bool see_mapping(const struct mapping *m, void *arg)
{
	struct visit *v = arg;

	if (v->is_of_shared && !m->is_shared)
		return true;
	heap_is_protected |= !m->is_readable && m->to > heap.base
	                     && heap_contains(m->from > heap.base ? m->from : heap.base);

	show_added(v, m);
	if (v->has_held && is_relocated(&v->held, m))
		show_mapping(v, &v->held);
	v->has_held = false;
	has_uring |= begins_with(m->name, "anon_inode:[io_uring]");
	if (is_ours(m->name) || is_device(m))
		return true;
	if (may_hold(m)) {
		show_mapping(v, m);
	} else if (!m->is_shared && m->inode != 0) {
		v->held = *m;
		v->held.name = "[relro]";
		v->has_held = true;
	}
	return true;
}

void roots_visit_threads(scan_range_fn *fn, void *arg)
{
	scan_threads_visit(fn, arg);
}

static bool visit_mappings(struct visit *v)
{
	has_uring = false;
	present_begin();

	bool is_read = maps_visit(see_mapping, v);

	present_end();
	return is_read;
}

static void find_no_roots(bool is_running)
{
	struct sigmask saved;

	ranges_clear(&no_roots);
	if (is_running)
		enter(&saved);
	copy_notes();
	if (is_running)
		leave(&saved);
	collect_ours(&no_roots);
	scan_threads_visit_dead(exclude, &no_roots);
	exclude_own();
	ranges_sort(&no_roots);
}

bool roots_visit_rest(bool is_running, scan_range_fn *fn, void *arg)
{
	struct visit v = { .fn = fn, .arg = arg, .outside = &no_roots };

	v.is_unsafe = is_running || scan_stop_info().nmissed > 0;
	heap_is_protected = false;
	find_no_roots(is_running);
	(was_running && !is_running ? kernel_visit_again : kernel_visit)(fn, arg);
	was_running = is_running;
	return visit_mappings(&v);
}

bool roots_visit_shared(scan_range_fn *fn, void *arg)
{
	struct visit v = { .fn = fn, .arg = arg, .outside = &no_roots, .is_of_shared = true };

	find_no_roots(false);
	return visit_mappings(&v);
}

bool roots_visit(scan_range_fn *fn, void *arg)
{
	roots_visit_threads(fn, arg);
	return roots_visit_rest(false, fn, arg);
}
