/* scratch.c: memory for one report, kept as addresses for the next.
 *
 * Reached from what makes a report. Depends on os.h and roots.h. Grows at least to twice its size, and
 * its old addresses are lost, so what is lost is less than what is used.
 */
#include "scan/scratch.h"

#include "core/os.h"
#include "scan/roots.h"
#include "scan/snapshot.h"

void *scratch_take(struct scratch *s, size_t nbytes)
{
	size_t wanted = align_up(nbytes, OS_PAGE_BYTES);

	if (s->p)
		os_discard((uintptr_t)s->p, s->nbytes);
	if (s->nbytes >= wanted)
		return s->p;
	if (wanted < 2 * s->nbytes)
		wanted = 2 * s->nbytes;

	void *p = os_map(wanted);

	if (!p)
		return NULL;
	os_name((uintptr_t)p, wanted, "spangc report");
	*s = (struct scratch){ .p = p, .nbytes = wanted };
	return p;
}

void scratch_drop(struct scratch *s)
{
	if (!s->p || snapshot_is_copy())        /* which ends soon, and may not wait for a lock */
		return;
	os_discard((uintptr_t)s->p, s->nbytes);
	if (!s->is_excluded)
		roots_exclude((uintptr_t)s->p, (uintptr_t)s->p + s->nbytes);
	s->is_excluded = true;
}
