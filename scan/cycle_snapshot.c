/* cycle_snapshot.c: see cycle_snapshot.h.
 *
 * Reached from cycle.c, and around fork. Depends on snapshot.h for the copy; what is done there is the
 * marking of a stopped world: mark.h, roots.h.
 *
 * The copy has marks of its own, in pages that it does not share: it clears them, marks, and leaves
 * the words that are not 0 in memory that both have. The process adds them to its marks, of which blocks
 * that were born since are part. So nobody's marks are ever cleared by another process, and a block that
 * was born marked before the copy was made is read there like any other.
 *
 * Memory that the copy does not have as it was: what other processes share goes on changing, so its
 * words are noted before the copy is made; what is wiped for children (MADV_WIPEONFORK) is zero, and
 * what they don't get (MADV_DONTFORK) is not there: no copy then. To find that out /proc/self/smaps is
 * read, beside the program, which takes 20 ms for 512 MiB.
 *
 * Why nothing alive is lost: what can be reached later was reachable in the copy, or was born after. A
 * slot on its way out of malloc at that moment is in its thread's registers or stack, and marked for that
 * (mark_threads_range()). A mark for what was freed since keeps nothing but, perhaps, a block that is
 * made there later, which has one anyway.
 */
#include "scan/cycle_snapshot.h"

#include "scan/cycle.h"
#include "core/heap.h"
#include "core/marks.h"
#include "core/os.h"
#include "core/sigmask.h"
#include "scan/peek.h"
#include "scan/roots.h"
#include "scan/threads.h"
#include "scan/work.h"

#include <string.h>

#define ROOM_MIN_BYTES MIB(64)                  /* that the heap may grow until it is copied */
#define WORDS_MAX (MIB(16) / sizeof(uintptr_t)) /* of shared mappings, that may lead to blocks */

enum outcome { OUTCOME_MARKED, OUTCOME_MISSED, OUTCOME_UNREADABLE, OUTCOME_NO_MEMORY, OUTCOME_URING };

/* Shared with the copy. */
struct shared {
	struct cycle_snapshot result;           /* the copy writes it, and ends */
	_Atomic uint64_t bits[];
};

/* Who runs the cycle. */
static struct {
	struct shared *shared;
	size_t mapped;
	size_t nwords;                          /* of bits */
	unsigned align;                         /* of pointers */

	/* Private: what shared mappings held. */
	uintptr_t *word;
	size_t nnoted;
} snap;

static size_t words_of(size_t heap_bytes)
{
	return heap_bytes >> (MARKS_GRANULE_SHIFT + 6);
}

static size_t heap_bytes(void)
{
	/* acquire: pairs with the release of who made it grow. */
	return atomic_load_explicit(&heap.nbytes, memory_order_acquire);
}

static bool map_memory(void)
{
	size_t nbytes = heap_bytes();

	snap.nwords = words_of(nbytes + nbytes / 4 + ROOM_MIN_BYTES);
	snap.mapped = align_up(sizeof *snap.shared + snap.nwords * sizeof(uint64_t), OS_PAGE_BYTES);
	snap.shared = os_map_shared(snap.mapped);
	snap.word = os_map(WORDS_MAX * sizeof *snap.word);
	snap.nnoted = 0;
	if (snap.shared)
		os_name((uintptr_t)snap.shared, snap.mapped, "spangc snapshot");
	if (snap.word)
		os_name((uintptr_t)snap.word, WORDS_MAX * sizeof *snap.word, "spangc words");
	return snap.shared && snap.word;
}

static void unmap_memory(void)
{
	if (snap.shared)
		os_unmap((uintptr_t)snap.shared, snap.mapped);
	if (snap.word)
		os_unmap((uintptr_t)snap.word, WORDS_MAX * sizeof *snap.word);
	snap.shared = NULL;
	snap.word = NULL;
}

/* --- before the copy --- */

/* "VmFlags: rd wr mr mw me wf ac". What the kernel may drop at any time ("dp") holds no pointers. */
static bool see_flags(char *line, void *is_wiped)
{
	if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " wf") && !strstr(line, " dp"))
		*(bool *)is_wiped = true;
	return !*(bool *)is_wiped;
}

static bool is_wiped_for_children(void)
{
	bool is_wiped = false;

	return !peek_lines("/proc/thread-self/smaps", see_flags, &is_wiped) || is_wiped;
}

static void note_words(uintptr_t from, uintptr_t to, const char *what, void *arg)
{
	size_t nbytes = heap_bytes();

	(void)what;
	(void)arg;
	for (uintptr_t at = align_up(from, snap.align); at + sizeof at <= to; at += snap.align) {
		uintptr_t word;

		__builtin_memcpy(&word, (const void *)at, sizeof word);
		if (work_from(word) - heap.base < nbytes && snap.nnoted++ < WORDS_MAX)
			snap.word[snap.nnoted - 1] = word;
	}
}

/* ctx: stw */
static bool note_shared(void *arg)
{
	(void)arg;
	return roots_visit_shared(note_words, NULL) && snap.nnoted <= WORDS_MAX;
}

/* --- in the copy --- */

/* What is 0 already is not touched. relaxed: the process waits for the copy's end. */
static void hand_over(size_t nwords)
{
	for (size_t i = 0; i < nwords; i++) {
		uint64_t word = atomic_load_explicit(&marks.bits[i], memory_order_relaxed);

		if (word)
			atomic_store_explicit(&snap.shared->bits[i], word, memory_order_relaxed);
	}
}

static uint64_t mark_in_copy(void *arg)
{
	struct cycle_snapshot *r = &snap.shared->result;
	struct scan_stop_info info = scan_stop_info();

	(void)arg;
	r->heap_bytes = heap_bytes();
	r->nthreads = info.nthreads + 1;
	r->nmissed = info.nmissed;
	if (info.nmissed)
		return OUTCOME_MISSED;
	if (words_of(r->heap_bytes) > snap.nwords || !mark_start_full())
		return OUTCOME_NO_MEMORY;
	mark_stopped();
	roots_visit_threads(mark_see_thread, NULL);
	if (!roots_visit_rest(false, mark_see_root, &r->root_bytes))
		return OUTCOME_UNREADABLE;
	if (roots_has_uring())
		return OUTCOME_URING;
	for (size_t i = 0; i < snap.nnoted; i++)
		mark_word(snap.word[i]);
	mark_drain();
	hand_over(words_of(r->heap_bytes));
	r->counts = mark_counts();
	r->pause = snapshot_pause();
	r->cpu_us = os_thread_cpu_us();
	return OUTCOME_MARKED;
}

/* --- in the process --- */

/* Blocks are born and freed meanwhile, hence no plain store. */
static void take_over(size_t nwords)
{
	for (size_t i = 0; i < nwords; i++) {
		/* relaxed, both: the copy has ended, and the sweep, which reads them, begins later. */
		uint64_t word = atomic_load_explicit(&snap.shared->bits[i], memory_order_relaxed);

		if (word)
			atomic_fetch_or_explicit(&marks.bits[i], word, memory_order_relaxed);
	}
}

static const char *outcome_of(struct cycle_snapshot *s, uint64_t outcome)
{
	*s = snap.shared->result;
	switch (outcome) {
	case OUTCOME_MARKED:
		take_over(words_of(s->heap_bytes));
		return NULL;
	case OUTCOME_URING:
		return cycle_has_uring;
	case OUTCOME_MISSED:
		return "a thread did not stop";
	case OUTCOME_UNREADABLE:
		return "/proc/self/maps can't be read";
	default:
		return "no memory for marks";
	}
}

static const char *run(struct cycle_snapshot *s)
{
	struct snapshot copy = { .fn = mark_in_copy, .prepare = note_shared, .fds = { -1, -1 } };

	if (is_wiped_for_children()) {
		s->is_refused = true;
		return "a copy of the process lacks some of its memory";
	}
	switch (snapshot_run(&copy)) {
	case SNAPSHOT_DONE:
		return outcome_of(s, copy.result);
	case SNAPSHOT_REFUSED:
		s->is_refused = true;
		return "the process can't be copied";
	default:
		s->is_refused = true;
		return "the copy of the process was killed";
	}
}

const char *cycle_snapshot_mark(struct cycle_snapshot *s, unsigned align)
{
	struct sigmask saved;
	const char *why;

	memset(s, 0, sizeof *s);
	snap.align = align;
	sigmask_block(&saved);
	why = map_memory() ? run(s) : "no memory for marks";
	unmap_memory();
	sigmask_restore(&saved);
	return why;
}

void cycle_snapshot_fork_child(void)
{
	unmap_memory();
	snapshot_fork_child();
}
