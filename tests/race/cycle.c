/* cycle.c: objects with one reference, which threads move while cycles run (tests/torture/mover.h), are
 * never lost; and the control: with what is written during marking ignored, some are.
 *
 * The first is done by tests/torture for minutes, and in all ways. Here the control shows that the
 * same would not pass if it were not for the dirty pages. Each in a process of its own, since one
 * that has lost objects is good for nothing more.
 */
#include <sys/wait.h>

#include "core/marks.h"
#include "scan/cycle.h"
#include "scan/dirty.h"
#include "tests/core.h"
#include "tests/scan_begin.h"

#define OBJECTS_OWN
#include "tests/torture/objects.h"

#define NTHREADS 3
#define SECONDS 1
#define CONTROL_SECONDS 20
#define MAX_LIVE 3000
#define LOST 42                                 /* exit status */

#ifdef __SANITIZE_THREAD__
enum { HAS_TSAN = true };
#else
enum { HAS_TSAN = false };
#endif

static void *object_memory(uint64_t serial, size_t nbytes)
{
	void *p = core_malloc(nbytes + heap.tail_bytes);

	(void)serial;
	check(p);
	return p;
}

static void object_free(void *p)
{
	cache_free(p);
}

static bool object_is_block(void *p, size_t nbytes)
{
	uint8_t granule = *heap_granule((uintptr_t)p);

	(void)nbytes;
	return granule && granule != SIZECLASS_RECLAIMED;
}

/* Others may be at it, too: the first one ends the process. */
static void object_lost(const struct object *o, uint64_t serial, const char *how)
{
	dprintf(1, "object %llu at %p is lost: %s\n", (unsigned long long)serial, (const void *)o, how);
	_exit(LOST);
}

#include "tests/torture/mover.h"

static _Atomic bool is_over;
static _Atomic size_t nlooks;
static uint64_t seed;

static bool goes_on(void)
{
	return !is_over;
}

static void forget(struct ref r)
{
	(void)r;
}

static void *move(void *arg)
{
	unsigned number = (unsigned)(uintptr_t)arg;
	size_t nbytes = MOVER_PLACES * sizeof(struct ref);

	nlooks += mover_run(number, seed, MAX_LIVE, forget, goes_on,
	                    core_malloc(nbytes + heap.tail_bytes));
	cache_detach();
	return NULL;
}

static void run_cycles(unsigned seconds)
{
	time_t end = time(NULL) + (time_t)seconds + 1;
	unsigned n = 0;

	while (time(NULL) < end) {
		enum cycle_kind kind = n % 4 && cycle_can_be_minor() ? CYCLE_MINOR : CYCLE_FULL;

		check(cycle_run(kind, n % 8 < 4));
		n++;
	}
	printf("%u cycles, the last by %s\n", n, cycle_last().dirty);
}

/* A way of seeing writes, or of not seeing them. */
static int child(unsigned way, bool is_pretended)
{
	pthread_t thread[NTHREADS];

	knobs.gc_dirty = way;
	core_start_gc();
	check(scan_threads_start() && cycle_start());
	dirty_pretend_clean(is_pretended);
	for (unsigned i = 0; i < NTHREADS; i++)
		check(pthread_create(&thread[i], NULL, scan_begin,
		                     scan_thread_plan(move, (void *)(uintptr_t)(i + 1), false)) == 0);
	run_cycles(is_pretended ? CONTROL_SECONDS : SECONDS);
	is_over = true;
	for (unsigned i = 0; i < NTHREADS; i++)
		check(pthread_join(thread[i], NULL) == 0);
	for (unsigned i = 0; i < MOVER_SHARED; i++)
		object_walk(mover_shared.ref[i], false);
	printf("%zu looks\n", (size_t)nlooks);
	exit(0);
}

static int in_child(unsigned way, bool is_pretended)
{
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	check(pid >= 0);
	if (pid == 0)
		child(way, is_pretended);
	check(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int main(void)
{
	int without;

	if (HAS_TSAN) {
		printf("skipped: not under ThreadSanitizer\n");
		return 77;
	}
	seed = seed_from_env();
	check(in_child(KNOB_GC_DIRTY_AUTO, false) == 0);
	check(in_child(KNOB_GC_DIRTY_STW, false) == 0);
	/* What is lost may be seen as anything: a crash, too. */
	without = in_child(KNOB_GC_DIRTY_AUTO, true);
	printf("ignoring what was written: %d\n", without);
	check(without != 0);
	return 0;
}
