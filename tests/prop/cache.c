/* cache.c: random histories of malloc, calloc, realloc, aligned and freed blocks.
 *
 * The model is a list of what is alive: where, how long, and a tag from which every byte follows.
 * New blocks must overlap none of it; contents are checked whenever a block is touched. Stretches
 * of a history run in threads that end, or as in a signal handler that interrupted malloc; memory
 * is given back in between. At the end nothing is left. In mode gc blocks are lost, too, and a cycle
 * that marks what is alive takes them. SEED=n repeats a history.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "core/sweep.h"
#include "core/verify.h"
#include "tests/check.h"
#include "tests/core.h"

#define MAX_LIVE 700
#define STRETCHES 120
#define STEPS 250                               /* of a stretch */

struct setting {
	enum knob_mode      mode;
	enum knob_min_align min_align;
	enum knob_madvise   madvise;
};

struct live {
	char  *p;
	size_t nbytes, tag;
};

static struct live live[MAX_LIVE];
static unsigned nlive;
static size_t ntags;
static uint64_t rng;

static unsigned below(unsigned n)
{
	return (unsigned)(next_random(&rng) >> 16) % n;
}

static size_t usable(const void *p)
{
	struct block b;

	cr_assert(block_find(p, &b), "%p", p);
	return b.usable;
}

/* The block is new or has moved: all of it belongs to nobody else. */
static void check_alone(const struct live *l)
{
	size_t nbytes = usable(l->p);

	cr_assert_geq(nbytes, l->nbytes);
	for (unsigned i = 0; i < nlive; i++)
		cr_assert(&live[i] == l || live[i].p >= l->p + nbytes
		          || live[i].p + live[i].nbytes <= l->p, "%p and %p", l->p, live[i].p);
}

static void check_contents(const struct live *l)
{
	cr_assert(pattern_holds(l->p, l->nbytes, l->tag), "%p, %zu bytes", l->p, l->nbytes);
}

static void keep(char *p, size_t nbytes)
{
	struct live *l = &live[nlive++];

	cr_assert_not_null(p);
	*l = (struct live){ p, nbytes, ++ntags };
	check_alone(l);
	pattern_fill(p, nbytes, l->tag);
}

static size_t random_bytes(void)
{
	return below(40) ? random_size(&rng) : 1 + below(MIB(3));
}

static char *aligned(size_t nbytes, size_t align)
{
	nbytes += heap.tail_bytes;

	class_idx c = nbytes <= SIZECLASS_MAX
	              ? sizeclass_aligned(heap.classes, nbytes, align) : SIZECLASS_NONE;

	return c ? cache_alloc_class(c) : large_alloc(nbytes, align);
}

static void allocate(void)
{
	size_t nbytes = random_bytes(), align = (size_t)16 << below(14);
	char *p;

	switch (below(8)) {
	case 0:
		p = aligned(nbytes, align);
		cr_assert_eq((uintptr_t)p % align, 0);
		break;
	case 1:
		nbytes += SIZECLASS_MAX;
		p = large_calloc(nbytes + heap.tail_bytes);
		cr_assert(all_zero(p, nbytes));
		break;
	case 2:
		p = nbytes >= SIZECLASS_MAX ? core_malloc(nbytes) : cache_alloc_class(
			sizeclass_noscan(sizeclass_of_in(heap.classes, nbytes + heap.tail_bytes)));
		break;
	default:
		p = core_malloc(nbytes);
	}
	keep(p, nbytes);
}

static void drop(unsigned i)
{
	check_contents(&live[i]);
	if (!marks_are_on() || below(3))
		cache_free(live[i].p);
	live[i] = live[--nlive];
}

/* As realloc does it, for large blocks. */
static void resize(struct live *l)
{
	size_t nbytes = SIZECLASS_MAX + 1 + below(below(2) ? KIB(200) : MIB(3));
	struct block b;

	cr_assert(block_find(l->p, &b));
	if (b.class != SIZECLASS_LARGE)
		return;
	check_contents(l);

	char *p = large_resize(l->p, nbytes + heap.tail_bytes);

	cr_assert_not_null(p);
	cr_assert(pattern_holds(p, nbytes < l->nbytes ? nbytes : l->nbytes, l->tag));
	l->p = p;
	l->nbytes = nbytes;
	check_alone(l);
	pattern_fill(p, nbytes, l->tag);
}

static void *stretch(void *arg)
{
	unsigned bias = below(11);              /* of ten: does the heap grow? */

	for (int i = 0; i < STEPS; i++) {
		if (nlive && below(12) == 0)
			resize(&live[below(nlive)]);
		else if (nlive < MAX_LIVE && (!nlive || below(10) < bias))
			allocate();
		else
			drop(below(nlive));
	}
	return arg;
}

static void *life(void *arg)
{
	stretch(arg);
	if (below(2))
		stretch(arg);
	cache_detach();
	if (below(4) == 0)
		stretch(arg);                   /* destructors that run after ours */
	return arg;
}

static void interrupted(void)
{
	struct magazines **hand = heap_has_hot_path() ? &cache_tls.mags : &cache_tls.cold_mags;
	struct magazines *m = cache_enter(hand);

	stretch(NULL);
	if (m != &cache_dummy)                  /* else the handler's first call attached */
		cache_leave(hand, m);
}

/* The history goes on while it sweeps. */
static void collect(bool goes_on)
{
	marks_clear(atomic_load_explicit(&heap.nbytes, memory_order_relaxed));
	for (unsigned i = 0; i < nlive; i++)
		marks_set((uintptr_t)live[i].p);
	atomic_store_explicit(&marks.is_black, true, memory_order_relaxed);
	sweep_begin(atomic_load_explicit(&heap.nbytes, memory_order_relaxed));
	while (sweep_some(SWEEP_UNIT_BYTES)) {
		if (goes_on && below(200) == 0)
			stretch(NULL);
	}
	atomic_store_explicit(&marks.is_black, false, memory_order_relaxed);
	sweep_finish();
	verify_all();
}

static void one(void)
{
	if (marks_are_on() && below(10) == 0)
		collect(true);
	switch (below(8)) {
	case 0: case 1:
		core_in_thread(life, NULL);
		break;
	case 2:
		interrupted();
		break;
	case 3:
		cache_empty_own();
		scavenge_all();
		break;
	default:
		stretch(NULL);
	}
	core_verify();
}

static struct setting *settings(size_t *n)
{
	static struct setting all[] = {
		{ KNOB_MODE_MALLOC, KNOB_MIN_ALIGN_16, KNOB_MADVISE_DONTNEED },
		{ KNOB_MODE_MALLOC, KNOB_MIN_ALIGN_16, KNOB_MADVISE_FREE },
		{ KNOB_MODE_MALLOC, KNOB_MIN_ALIGN_16, KNOB_MADVISE_NONE },
		{ KNOB_MODE_MALLOC, KNOB_MIN_ALIGN_8, KNOB_MADVISE_DONTNEED },
		{ KNOB_MODE_GC, KNOB_MIN_ALIGN_8, KNOB_MADVISE_DONTNEED },
	};

	*n = COUNT(all);
	return all;
}

ParameterizedTestParameters(cache, any_history_keeps_blocks_apart_and_loses_nothing)
{
	size_t n;
	struct setting *all = settings(&n);

	return cr_make_param_array(struct setting, all, n);
}

ParameterizedTest(struct setting *s, cache, any_history_keeps_blocks_apart_and_loses_nothing)
{
	rng = seed_from_env();
	knobs.mode = s->mode;
	knobs.stacks = KNOB_OFF;
	knobs.min_align = s->min_align;
	knobs.madvise = s->madvise;
	core_start();
	for (int i = 0; i < STRETCHES; i++)
		one();
	while (nlive)
		drop(nlive - 1);
	if (marks_are_on())
		collect(false);
	cr_assert(core_returns_all_pages());
}
