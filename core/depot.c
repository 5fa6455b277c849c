/* depot.c: a thread's blocks for magazines, and its full magazines beyond those in use.
 *
 * Reached from magazine.c and verify.c. Depends on meta.c for blocks, which never go back. They are
 * touched in the order of need: most classes are never used, and those that are share os pages.
 *
 * Invariants, checked by depot_verify():
 *   D1  nfull is the number of magazines in `full`;
 *   D2  nbytes is what they hold in all, and they themselves.
 */
#include "core/depot.h"

#include "core/cache.h"
#include "core/helper.h"
#include "core/knobs.h"
#include "core/meta.h"
#include "core/sigmask.h"

#define BLOCKS_AT_A_TIME 8
#define NEXT(block) (*(void ***)(block))

static bool make_fresh(struct depot *d)
{
	struct sigmask saved;

	sigmask_block(&saved);
	d->fresh = meta_alloc(BLOCKS_AT_A_TIME * MAGAZINE_BYTES, MAGAZINE_BYTES);
	sigmask_restore(&saved);
	d->nfresh = d->fresh ? BLOCKS_AT_A_TIME : 0;
	return d->nfresh;
}

void **depot_block(struct depot *d)
{
	void **empty = d->empty;

	if (empty) {
		d->empty = NEXT(empty);
		return empty;
	}
	if (!d->nfresh && !make_fresh(d))
		return NULL;
	empty = (void **)d->fresh;
	d->fresh += MAGAZINE_BYTES;
	d->nfresh--;
	return empty;
}

static void set_nbytes(struct depot *d, size_t nbytes)
{
	helper_note_loose(d->nbytes, nbytes);
	d->nbytes = nbytes;
}

void **depot_put(struct depot *d, class_idx c, void **full, size_t nbytes)
{
	struct depot_class *of = &d->class[c];

	if (of->nfull >= of->limit || d->nbytes + nbytes + MAGAZINE_BYTES > DEPOT_BYTES)
		return NULL;

	void **empty = depot_block(d);

	if (!empty)
		return NULL;
	NEXT(full) = of->full;
	of->full = full;
	of->nfull++;
	set_nbytes(d, d->nbytes + nbytes + MAGAZINE_BYTES);
	return empty;
}

void **depot_take(struct depot *d, class_idx c, size_t nbytes)
{
	struct depot_class *of = &d->class[c];
	void **full = of->full;

	if (!full)
		return NULL;
	of->full = NEXT(full);
	of->nfull--;
	set_nbytes(d, d->nbytes - nbytes - MAGAZINE_BYTES);
	return full;
}

void depot_drop(struct depot *d, void **empty)
{
	NEXT(empty) = d->empty;
	d->empty = empty;
}

void depot_forget(struct depot *d)
{
	for (unsigned c = 1; c < SIZECLASS_LARGE; c++)
		d->class[c].limit = 0;
}

void depot_learn(struct depot *d, class_idx c, size_t nbytes, size_t nbytes_each)
{
	struct depot_class *of = &d->class[c];

	/* Free memory may not wait if the user said so. */
	if (!knobs.release_delay_ms || knobs.memory_limit_bytes != KNOB_OFF)
		return;

	size_t want = of->limit + (nbytes + nbytes_each - 1) / nbytes_each;

	of->limit = want * nbytes_each <= DEPOT_CLASS_BYTES ? (uint16_t)want : 0;
}

void depot_verify(const struct depot *d, size_t (*nbytes_each)(class_idx c))
{
	size_t nbytes = 0;

	for (unsigned c = 1; c < SIZECLASS_LARGE; c++) {
		unsigned n = 0;

		for (void **full = d->class[c].full; full; full = NEXT(full))
			n++;
		check(n == d->class[c].nfull);                                  /* D1 */
		if (n)
			nbytes += n * (nbytes_each((class_idx)c) + MAGAZINE_BYTES);
	}
	check(nbytes == d->nbytes);                                             /* D2 */
}
