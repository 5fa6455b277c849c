/* references.c: the only references to objects move between blocks, threads, stacks, thread-local data,
 * mappings and registers, and no object is ever lost.
 *
 * also: SPANGC_VERIFY=1 | SPANGC_GC_FREE=ignore | SPANGC_STACKS=all | SPANGC_VERIFY=1 SPANGC_GC_DIRTY=mprotect | SPANGC_GC_WORKERS=4 | SPANGC_GC_PERCENT=off
 */
#include "tests/torture/torture.h"
#include "tests/torture/mover.h"

#define NTHREADS 4
#define MAX_LIVE 20000
#define NQUIET 10000                            /* objects a second that it runs, up to ... */
#define QUIET_SECONDS 20

static void drop(struct ref r)
{
	(void)r;
}

static void *move(void *arg)
{
	unsigned number = (unsigned)(uintptr_t)arg;
	struct ref *block = malloc(MOVER_PLACES * sizeof *block);

	torture_count(mover_run(number, torture.seed, MAX_LIVE, torture_collects() ? drop : NULL,
	                        torture_goes_on, hide(block)));
	free(block);
	return NULL;
}

/* What makes marking take its time: nobody moves it. */
static struct {
	struct ref *ref;
	size_t n;
} quiet;

static void make_quiet(void)
{
	unsigned seconds = torture_seconds();

	quiet.n = (size_t)NQUIET * (seconds < QUIET_SECONDS ? seconds : QUIET_SECONDS);
	quiet.ref = calloc(quiet.n, sizeof *quiet.ref);
	CHECK(quiet.ref);
	for (size_t i = 0; i < quiet.n; i++)
		quiet.ref[i] = object_make(i + 1);
}

static void end_quiet(void)
{
	for (size_t i = 0; i < quiet.n; i++)
		torture_count(object_walk(quiet.ref[i], true));
	free(quiet.ref);
}

int main(void)
{
	pthread_t thread[NTHREADS];

	torture_begin();
	make_quiet();
	for (unsigned i = 0; i < NTHREADS; i++)
		thread[i] = start_thread(move, (void *)(uintptr_t)(i + 1));
	for (unsigned i = 0; i < NTHREADS; i++)
		join_thread(thread[i]);
	for (unsigned i = 0; i < MOVER_SHARED; i++)
		torture_count(object_walk(mover_shared.ref[i], true));
	end_quiet();
	return torture_end();
}
