/* own.c: see own.h.
 *
 * Reached from what marks and from lists of ranges, also while the world is stopped: no lock. There are
 * few such mappings: some grow by doubling, the others are made once. More than fit in the table would
 * be read as roots.
 */
#include "scan/own.h"

#include "core/os.h"

#define OWN_MAX 128

/* Any thread, atomic; an entry is there when `to` is. */
static struct {
	_Atomic uintptr_t from, to;
} own[OWN_MAX];
static _Atomic unsigned nown;

static void note(uintptr_t from, uintptr_t to)
{
	/* relaxed: only counted. */
	unsigned i = atomic_fetch_add_explicit(&nown, 1, memory_order_relaxed);

	if (i >= OWN_MAX)
		return;
	atomic_store_explicit(&own[i].from, from, memory_order_relaxed);        /* by the next */
	/* release: pairs with the acquire in own_visit(). */
	atomic_store_explicit(&own[i].to, to, memory_order_release);
}

void *own_map(size_t nbytes, const char *name)
{
	void *p = os_map(nbytes);

	if (!p)
		return NULL;
	os_name((uintptr_t)p, nbytes, name);
	note((uintptr_t)p, (uintptr_t)p + nbytes);
	return p;
}

void own_visit(void (*fn)(uintptr_t from, uintptr_t to, void *arg), void *arg)
{
	for (unsigned i = 0; i < OWN_MAX; i++) {
		/* acquire: pairs with the release in note(). */
		uintptr_t to = atomic_load_explicit(&own[i].to, memory_order_acquire);

		/* relaxed: ordered by `to`. */
		if (to)
			fn(atomic_load_explicit(&own[i].from, memory_order_relaxed), to, arg);
	}
}
