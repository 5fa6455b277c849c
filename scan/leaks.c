/* leaks.c: what is left unmarked, and what among it leads to what.
 *
 * Reached from preload/exit.c and the public calls. Depends on mark.h, roots.h, threads.h and
 * record.h. While the world is stopped memory comes from os_map() alone.
 *
 * Direct and indirect: blocks are flooded from each that was not reached so far, in the order of
 * addresses. No flood reaches where a later one starts. Hence, flooded once more from the last start
 * to the first, a start that was reached by then is indirect, and the others are direct: nothing but
 * what they lead to leads to them. Both rounds read each block once.
 */
#include "scan/leaks.h"

#include "core/heap.h"
#include "core/knobs.h"
#include "core/os.h"
#include "core/record.h"
#include "scan/mark.h"
#include "scan/modules.h"
#include "scan/roots.h"
#include "scan/scratch.h"
#include "scan/snapshot.h"
#include "scan/sort.h"
#include "scan/stacks.h"
#include "scan/threads.h"

#include <string.h>

static const unsigned aligns[] = {
	[KNOB_SCAN_ALIGN_8] = 8, [KNOB_SCAN_ALIGN_4] = 4, [KNOB_SCAN_ALIGN_1] = 1,
};

static struct scratch block_memory, entry_memory;

/* --- direct and indirect --- */

struct flood {
	struct leaks_block *blocks;
	uint32_t n;
	uint32_t *list;                         /* seen, and not yet read */
	uint32_t nlist;
	uintptr_t (*find)(uintptr_t word);
};

/* The block that starts at p; NULL: it is no leaked one. */
static struct leaks_block *block_at(const struct flood *f, uintptr_t p)
{
	uint32_t low = 0, high = f->n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (f->blocks[middle].p < p)
			low = middle + 1;
		else
			high = middle;
	}
	return low < f->n && f->blocks[low].p == p ? &f->blocks[low] : NULL;
}

static void see(struct flood *f, struct leaks_block *b)
{
	if (b->is_seen)
		return;
	b->is_seen = true;
	f->list[f->nlist++] = (uint32_t)(b - f->blocks);
}

__attribute__((no_sanitize("address", "thread"))) static void read_block(struct flood *f,
                                                                        const struct leaks_block *b)
{
	uintptr_t limit = b->p + b->nreadable;

	for (uintptr_t at = b->p; at + sizeof at <= limit; at += aligns[knobs.scan_align]) {
		uintptr_t word, p;

		memcpy(&word, (const void *)at, sizeof word);
		p = f->find(word);

		struct leaks_block *to = p ? block_at(f, p) : NULL;

		if (to)
			see(f, to);
	}
}

/* Everything `head` leads to is seen; bytes of what was not seen before, without the head. */
static uint64_t flood_from(struct flood *f, struct leaks_block *head)
{
	uint64_t nbytes = 0;

	see(f, head);
	while (f->nlist) {
		struct leaks_block *b = &f->blocks[f->list[--f->nlist]];

		nbytes += b->nbytes;
		read_block(f, b);
	}
	return nbytes - head->nbytes;
}

void leaks_classify(struct leaks_block *blocks, uint32_t n, uint32_t *list,
                    uintptr_t (*find)(uintptr_t word))
{
	struct flood f = { .blocks = blocks, .n = n, .list = list, .find = find };

	for (uint32_t i = 0; i < n; i++) {
		if (blocks[i].is_seen)
			continue;
		blocks[i].is_direct = true;     /* for now: a start */
		flood_from(&f, &blocks[i]);
	}
	for (uint32_t i = 0; i < n; i++)
		blocks[i].is_seen = false;
	for (uint32_t i = n; i--;) {
		if (!blocks[i].is_direct)
			continue;
		blocks[i].is_direct = !blocks[i].is_seen;
		if (blocks[i].is_direct)
			blocks[i].indirect_bytes = flood_from(&f, &blocks[i]);
	}
}

/* --- with the world stopped --- */

static uintptr_t find_word(uintptr_t word)
{
	return mark_find(word & ((UINT64_C(1) << 48) - 1));
}

static size_t readable(uintptr_t block, size_t slot_bytes)
{
	/* relaxed: the world is stopped. */
	class_idx c = atomic_load_explicit(heap_granule(block), memory_order_relaxed);

	return c == SIZECLASS_LARGE ? slot_bytes : slot_bytes - heap.record_bytes;
}

static void mark_root(uintptr_t from, uintptr_t to, const char *what, void *arg)
{
	(void)what;
	(void)arg;
	mark_range(from, to);
}

static void mark_ignored(const void *p, const struct block *b, void *arg)
{
	(void)arg;
	if (record_get(p, b).is_ignored)
		mark_block((uintptr_t)p);
}

static void count(const void *p, const struct block *b, void *arg)
{
	struct leaks *l = arg;

	if (!mark_is_marked((uintptr_t)p)) {
		l->nblocks++;
		return;
	}
	l->reachable.nbytes += record_get(p, b).nbytes;
	l->reachable.nblocks++;
}

static void note(const void *p, const struct block *b, void *arg)
{
	struct leaks *l = arg;

	if (mark_is_marked((uintptr_t)p))
		return;

	struct record r = record_get(p, b);
	bool is_scanned = b->class == SIZECLASS_LARGE || !sizeclass_is_noscan(b->class);

	l->blocks[l->nblocks++] = (struct leaks_block){
		.p = (uintptr_t)p, .nreadable = is_scanned ? b->usable : 0, .nbytes = r.nbytes,
		.stack = r.stack,
	};
}

/* The blocks that are not marked, classified. */
static const char *collect(struct leaks *l)
{
	record_visit_blocks(count, l);
	if (!l->nblocks)
		return NULL;
	if (l->nblocks > UINT32_MAX)
		return "too many blocks are leaked";

	l->blocks = scratch_take(&block_memory, l->nblocks * (sizeof *l->blocks + sizeof(uint32_t)));
	if (!l->blocks)
		return "no memory for a report";

	uint32_t *list = (uint32_t *)&l->blocks[l->nblocks];

	l->nblocks = 0;
	record_visit_blocks(note, l);
	leaks_classify(l->blocks, (uint32_t)l->nblocks, list, find_word);
	return NULL;
}

static const char *look(struct leaks *l)
{
	mark_set_align(aligns[knobs.scan_align]);
	if (!mark_start())
		return "no memory for marks";
	mark_measure_with(readable);
	if (!roots_visit(mark_root, NULL)) {
		mark_end();
		return "/proc/self/maps can't be read";
	}
	mark_drain();
	record_visit_blocks(mark_ignored, NULL);
	mark_drain();

	const char *why = collect(l);

	mark_end();
	return why;
}

/* --- by stack --- */

/* Is `a` to be reported before `b`? Stacks are numbered as they came up. */
static bool is_before(const void *left, const void *right)
{
	const struct leaks_entry *a = left, *b = right;

	if (a->is_suppressed != b->is_suppressed)
		return b->is_suppressed;
	if (a->sum.nbytes != b->sum.nbytes)
		return a->sum.nbytes > b->sum.nbytes;
	if (a->is_direct != b->is_direct)
		return a->is_direct;
	return a->stack < b->stack;
}

static void add(struct leaks_sum *sum, uint64_t nbytes, uint64_t nblocks)
{
	sum->nbytes += nbytes;
	sum->nblocks += nblocks;
}

/* Two entries for each stack at first: direct, indirect. */
static const char *group(struct leaks *l)
{
	uint32_t nstacks = stacks_count() + 1, n = 0;

	l->entries = scratch_take(&entry_memory, 2 * (size_t)nstacks * sizeof *l->entries);
	if (!l->entries)
		return "no memory for a report";
	for (size_t i = 0; i < l->nblocks; i++) {
		const struct leaks_block *b = &l->blocks[i];
		uint32_t stack = b->stack < nstacks ? b->stack : STACKS_NONE;
		struct leaks_entry *e = &l->entries[2 * stack + b->is_direct];

		e->stack = stack;
		e->is_direct = b->is_direct;
		e->indirect_bytes += b->indirect_bytes;
		add(&e->sum, b->nbytes, 1);
		add(b->is_direct ? &l->direct : &l->indirect, b->nbytes, 1);
	}
	for (uint32_t i = 0; i < 2 * nstacks; i++) {
		if (l->entries[i].sum.nblocks)
			l->entries[n++] = l->entries[i];
	}
	l->nentries = n;
	sort(l->entries, n, sizeof *l->entries, is_before);
	return NULL;
}

const char *leaks_find(struct leaks *l)
{
	uint64_t before = os_now_ns();
	bool is_copy = snapshot_is_copy();

	memset(l, 0, sizeof *l);
	if (!is_copy)
		modules_note();
	if (!is_copy && !scan_stop())
		return "threads can't be stopped";

	const char *why = look(l);

	l->nthreads = scan_stop_info().nthreads + 1;
	if (is_copy) {
		l->pause = snapshot_pause();
	} else {
		scan_resume();
		l->pause.stop_ns = scan_stop_info().ns;
		l->pause.all_ns = os_now_ns() - before;
	}
	if (!why && l->nblocks)
		why = group(l);
	return why;
}

void leaks_suppress(struct leaks *l, bool (*is_suppressed)(uint32_t stack))
{
	for (uint32_t i = 0; i < l->nentries; i++) {
		struct leaks_entry *e = &l->entries[i];
		struct leaks_sum *from = e->is_direct ? &l->direct : &l->indirect;

		if (!is_suppressed(e->stack))
			continue;
		e->is_suppressed = true;
		from->nbytes -= e->sum.nbytes;
		from->nblocks -= e->sum.nblocks;
		add(&l->suppressed, e->sum.nbytes, e->sum.nblocks);
	}
	sort(l->entries, l->nentries, sizeof *l->entries, is_before);
}

void leaks_drop(struct leaks *l)
{
	scratch_drop(&block_memory);
	scratch_drop(&entry_memory);
	memset(l, 0, sizeof *l);
}
