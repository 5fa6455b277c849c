/* resize.c: arrays of references grow and shrink by realloc and are replaced by calloc'd and aligned ones
 * while collections go on, from a few bytes to many pages; large blocks come and go.
 *
 * also: SPANGC_VERIFY=1 | SPANGC_GC_FREE=ignore | SPANGC_STACKS=all
 */
#include "tests/torture/torture.h"
#include "tests/torture/objects.h"

#define NTHREADS 3
#define MAX_REFS 40000

static _Atomic uint64_t next_serial = 1;

struct array {
	struct ref *ref;
	size_t n;
	uint64_t rng;
};

static void check_some(struct array *a)
{
	for (unsigned i = 0; i < 50 && a->n; i++)
		torture_count(object_look(a->ref[next_random(&a->rng) % a->n]) != NULL);
}

static void grow(struct array *a)
{
	size_t n = a->n + a->n / (1 + next_random(&a->rng) % 3) + 1;

	a->ref = realloc(a->ref, n * sizeof *a->ref);
	CHECK(a->ref);
	for (; a->n < n; a->n++)
		a->ref[a->n] = object_make(next_serial++);
}

static void shrink(struct array *a)
{
	size_t n = a->n ? next_random(&a->rng) % a->n : 0;

	while (a->n > n) {
		a->n--;
		if (torture_collects() && next_random(&a->rng) % 2)
			a->ref[a->n].word = 0;
		else
			torture_count(object_walk(a->ref[a->n], true));
	}
	a->ref = realloc(a->ref, n * sizeof *a->ref + 1);
	CHECK(a->ref);
}

/* Into a block of another kind, half of it by memcpy and half word for word. */
static void replace(struct array *a)
{
	size_t nbytes = a->n * sizeof *a->ref, half = a->n / 2;
	struct ref *old = a->ref, *ref = NULL;

	switch (next_random(&a->rng) % 3) {
	case 0:
		ref = calloc(a->n + 1, sizeof *ref);
		CHECK(ref && all_zero(ref, nbytes));
		break;
	case 1:
		CHECK(posix_memalign((void **)&ref, (size_t)64 << next_random(&a->rng) % 10, nbytes + 1) == 0);
		break;
	default:
		ref = aligned_alloc(4096, nbytes + 4096);
	}
	CHECK(ref);
	memcpy(ref, old, half * sizeof *ref);
	for (size_t i = half; i < a->n; i++) {
		ref[i] = old[i];
		old[i].word = 0;
	}
	a->ref = ref;
	if (next_random(&a->rng) % 2 || !torture_collects())
		free(old);
}

static void *work(void *arg)
{
	struct array a = { .rng = torture.seed + (uintptr_t)arg * 2 };

	while (torture_goes_on()) {
		uint64_t r = next_random(&a.rng) % 10;

		if (a.n > MAX_REFS || r == 0)
			shrink(&a);
		else if (r < 6)
			grow(&a);
		else
			replace(&a);
		check_some(&a);
		make_garbage(&a.rng);
	}
	for (size_t i = 0; i < a.n; i++)
		torture_count(object_walk(a.ref[i], true));
	free(a.ref);
	return NULL;
}

int main(void)
{
	pthread_t thread[NTHREADS];

	torture_begin();
	for (unsigned i = 0; i < NTHREADS; i++)
		thread[i] = start_thread(work, (void *)(uintptr_t)(i + 1));
	for (unsigned i = 0; i < NTHREADS; i++)
		join_thread(thread[i]);
	return torture_end();
}
