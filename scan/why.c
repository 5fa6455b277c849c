/* why.c: the search: see why.h.
 *
 * Reached from why_report.c with the world stopped, or in a copy of the process. Depends on mark.h,
 * roots.h and record.h; memory comes from scratch.h, 8 bytes of addresses for each granule, of
 * which what belongs to reached blocks is touched.
 *
 * All roots in memory at once, then what they lead to, and so on: the first pointer to a block is
 * of a shortest path. Then the same from stacks and registers. Each block keeps who led to it: a
 * granule, or the number of a pointer among the roots, which are listed. Where in a block the
 * pointer stands is looked up again for the one path that is told.
 */
#include "scan/why.h"

#include "core/heap.h"
#include "scan/leaks.h"
#include "scan/mark.h"
#include "scan/present.h"
#include "scan/roots.h"
#include "scan/scratch.h"

#include <string.h>

#define ENTRIES_MAX (UINT32_C(1) << 22)
#define AHEAD 8                                 /* blocks prefetched before they are read */

/* A pointer among the roots that led to a block. */
struct entry {
	uintptr_t at;                           /* 0: it was in a copy */
	int       tid;
	enum why_root_kind kind;
};

static struct scratch parent_memory, queue_memory, entry_memory;

static struct {
	uint32_t *parent;                       /* by granule: 0: not reached; 1 more than a granule;
	                                         * above the granules: 1 more than an entry */
	uint32_t *queue;                        /* reached blocks, in their order */
	struct entry *entry;                    /* the first is for those that have no room */
	uint32_t n, nread, ngranules, nentries;
	uint32_t holder;                        /* that is being read: as in `parent` */
	struct entry root;                      /* if it is a root */
	uintptr_t target;                       /* nothing more is wanted once it is reached; 0: all is */
	bool is_done;
	struct why *why;
} search;

static uint32_t granule(uintptr_t p)
{
	return (uint32_t)((p - heap.base) >> heap.granule_shift);
}

static uintptr_t address(uint32_t granule)
{
	return heap.base + ((uintptr_t)granule << heap.granule_shift);
}

static bool is_reached(uintptr_t block)
{
	return search.parent[granule(block)];
}

static void reach(uintptr_t block, uint32_t parent)
{
	uint32_t g = granule(block);

	search.parent[g] = parent;
	search.queue[search.n++] = g;
	search.is_done = block == search.target;
}

/* --- roots --- */

static bool is_a_threads(enum why_root_kind kind)
{
	return kind == WHY_ROOT_STACK || kind == WHY_ROOT_REGISTERS || kind == WHY_ROOT_ALTSTACK
	       || kind == WHY_ROOT_ARGUMENT;
}

static bool reach_from_root(uintptr_t at, uintptr_t block, void *arg)
{
	uint32_t i = search.nentries < ENTRIES_MAX ? search.nentries : 0;

	(void)arg;
	if (is_reached(block))
		return true;
	search.nentries += i > 0;
	search.entry[i] = search.root;
	search.entry[i].at = i && search.root.at ? at : 0;
	reach(block, search.ngranules + 1 + i);
	return !search.is_done;
}

static void see_root(uintptr_t from, uintptr_t to, const char *what, void *arg)
{
	const bool *of_threads = arg;
	enum why_root_kind kind = why_root_kind(what);
	bool is_there = kind != WHY_ROOT_EPOLL && kind != WHY_ROOT_TIMER && !present_is_copy(from);

	if (search.is_done || is_a_threads(kind) != *of_threads)
		return;
	search.root = (struct entry){ .at = is_there, .tid = scan_threads_shown(), .kind = kind };
	mark_visit_words(from, to, reach_from_root, NULL);
}

static void reach_ignored(const void *p, const struct block *b, void *arg)
{
	search.root = (struct entry){ .kind = WHY_ROOT_IGNORED };
	if (!search.is_done && record_get(p, b).is_ignored)
		reach_from_root(0, (uintptr_t)p, arg);
}

/* --- what they lead to --- */

static bool reach_from_block(uintptr_t at, uintptr_t block, void *arg)
{
	(void)at;
	(void)arg;
	if (!is_reached(block))
		reach(block, search.holder);
	return !search.is_done;
}

static void read_block(uint32_t g)
{
	uintptr_t p = address(g);

	search.holder = g + 1;
	mark_visit_words(p, p + mark_bytes(p), reach_from_block, NULL);
}

static void follow(void)
{
	while (search.nread < search.n && !search.is_done) {
		if (search.n - search.nread > AHEAD)
			__builtin_prefetch((void *)address(search.queue[search.nread + AHEAD]));
		read_block(search.queue[search.nread++]);
	}
}

/* What a thread has in its hands may be a left-over: it counts where nothing else leads there. */
static const char *follow_all(void)
{
	bool of_threads = false;

	if (!roots_visit(see_root, &of_threads))
		return "/proc/self/maps can't be read";
	record_visit_blocks(reach_ignored, NULL);
	follow();
	of_threads = true;
	if (!search.is_done)
		roots_visit(see_root, &of_threads);
	follow();
	return NULL;
}

/* --- which block --- */

static bool is_meant(const struct why *w, const struct record *r)
{
	return r->stack < w->nstacks && w->stacks[r->stack];
}

/* Is it to be explained rather than the one so far? */
static bool is_better(const struct why *w, const struct record *r, bool reached)
{
	bool was_reached = w->block && is_reached(w->block);

	if (!w->block || reached != was_reached)
		return !w->block || reached;
	return r->birth < w->record.birth;
}

static void choose(const void *p, const struct block *b, void *arg)
{
	struct why *w = arg;
	struct record r = record_get(p, b);
	bool reached = is_reached((uintptr_t)p);

	if (!is_meant(w, &r))
		return;
	if (is_better(w, &r, reached)) {
		w->block = (uintptr_t)p;
		w->record = r;
	}
	w->nblocks++;
	w->nbytes += r.nbytes;
	w->nreachable += reached;
}

/* --- the path --- */

struct pointer {
	uintptr_t to, at, word;
};

static bool find_pointer(uintptr_t at, uintptr_t block, void *arg)
{
	struct pointer *p = arg;

	if (block != p->to)
		return true;
	p->at = at;
	memcpy(&p->word, (void *)at, sizeof p->word);
	return false;
}

static struct record record_at(uintptr_t p)
{
	struct block b;

	return block_find((void *)p, &b) ? record_get((void *)p, &b) : (struct record){ 0 };
}

/* The step to `block`, from the block `holder` if that is one. */
static struct why_step step_to(uintptr_t block, uintptr_t holder)
{
	struct why_step s = { .block = block, .record = record_at(block) };
	struct pointer p = { .to = block };

	if (!holder)
		return s;
	mark_visit_words(holder, holder + mark_bytes(holder), find_pointer, &p);
	s.at = p.at - holder;
	s.inside = (p.word & ((UINT64_C(1) << 48) - 1)) - block;
	return s;
}

/* Who leads to a block; 0: a root. */
static uintptr_t parent_of(uintptr_t block)
{
	uint32_t parent = search.parent[granule(block)];

	return parent > search.ngranules ? 0 : address(parent - 1);
}

static void tell_root(struct why *w, uintptr_t first)
{
	const struct entry *e = &search.entry[search.parent[granule(first)] - search.ngranules - 1];
	uintptr_t word;

	w->root = (struct why_root){ .kind = e->kind, .at = e->at, .tid = e->tid };
	if (!e->at)
		return;
	memcpy(&word, (void *)e->at, sizeof word);
	w->head[0].inside = (word & ((UINT64_C(1) << 48) - 1)) - first;
	why_name_root(&w->root);
}

static void tell_path(struct why *w)
{
	uint64_t left;
	uintptr_t first = w->block;

	for (w->length = 1; parent_of(first); w->length++)
		first = parent_of(first);
	left = w->length;
	for (uintptr_t p = w->block; p; p = parent_of(p)) {
		uint64_t from_end = w->length - left--;

		if (from_end < WHY_SHOWN)
			w->tail[WHY_SHOWN - 1 - from_end] = step_to(p, parent_of(p));
		if (left < WHY_SHOWN)
			w->head[left] = step_to(p, parent_of(p));
	}
	tell_root(w, first);
}

/* --- of leaked ones: who holds it --- */

static bool note_holder(uintptr_t at, uintptr_t block, void *arg)
{
	struct why *w = search.why;
	uintptr_t holder = *(const uintptr_t *)arg;

	(void)at;
	if (block != w->block || holder == block)
		return true;
	if (w->nholders < WHY_HOLDERS)
		w->holder[w->nholders] = holder;
	w->nholders++;
	return false;
}

static void see_leaked(const void *p, const struct block *b, void *arg)
{
	uintptr_t holder = (uintptr_t)p;

	(void)b;
	(void)arg;
	if (!is_reached(holder))
		mark_visit_words(holder, holder + mark_bytes(holder), note_holder, &holder);
}

/* --- all of it --- */

static const char *prepare(struct why *w)
{
	/* relaxed: the world is stopped. */
	size_t nbytes = atomic_load_explicit(&heap.nbytes, memory_order_relaxed);
	size_t ngranules = nbytes >> heap.granule_shift;

	if (ngranules >= UINT32_MAX - ENTRIES_MAX)
		return "the heap is too large";
	memset(&search, 0, sizeof search);
	search.why = w;
	search.ngranules = (uint32_t)ngranules;
	search.parent = scratch_take(&parent_memory, (ngranules + 1) * sizeof *search.parent);
	search.queue = scratch_take(&queue_memory, (ngranules + 1) * sizeof *search.queue);
	search.entry = scratch_take(&entry_memory, ENTRIES_MAX * sizeof *search.entry);
	search.nentries = 1;
	return search.parent && search.queue && search.entry ? NULL : "no memory";
}

static const char *answer(struct why *w)
{
	const char *why;

	if (w->is_address) {
		w->block = mark_find(w->address);
		w->verdict = heap_contains(w->address) ? WHY_FREE : WHY_OUTSIDE;
		if (!w->block)
			return NULL;
		w->record = record_at(w->block);
	}
	search.target = w->block;
	why = follow_all();
	if (why)
		return why;
	if (!w->is_address)
		record_visit_blocks(choose, w);
	w->verdict = !w->block ? WHY_NO_BLOCK : is_reached(w->block) ? WHY_REACHABLE : WHY_LEAKED;
	if (w->verdict == WHY_REACHABLE)
		tell_path(w);
	else if (w->verdict == WHY_LEAKED)
		record_visit_blocks(see_leaked, NULL);
	return NULL;
}

const char *why_find(struct why *w)
{
	const char *why = prepare(w);

	if (why)
		return why;
	if (!leaks_start_marking())
		return "no memory for marks";
	why = answer(w);
	mark_end();
	return why;
}

void why_drop(void)
{
	scratch_drop(&parent_memory);
	scratch_drop(&queue_memory);
	scratch_drop(&entry_memory);
	memset(&search, 0, sizeof search);
}
