/* leaks.c: what is left unmarked, and what among it leads to what.
 *
 * Reached from leaks_report.c and why.c. Depends on mark.h, roots.h, threads.h and
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
#include "scan/kernel.h"
#include "scan/mark.h"
#include "scan/modules.h"
#include "scan/roots.h"
#include "scan/scratch.h"
#include "scan/snapshot.h"
#include "scan/threads.h"
#include "scan/workers.h"

#include <string.h>

static const unsigned aligns[] = {
	[KNOB_SCAN_ALIGN_8] = 8, [KNOB_SCAN_ALIGN_4] = 4, [KNOB_SCAN_ALIGN_1] = 1,
};

static struct scratch block_memory;
static size_t nroom;                            /* in it: blocks that were counted */

#define KEPT_SHARE 16                           /* of the limit */
#define KEPT_MAX MIB(64)

/* For reports, mapped but while there is one. */
static struct {
	uintptr_t base;
	size_t nbytes;
} kept;

void leaks_keep_memory(void)
{
	size_t limit = os_memory_limit(), nbytes = limit / KEPT_SHARE;

	if (limit == SIZE_MAX || kept.base)
		return;
	nbytes = align_down(nbytes < KEPT_MAX ? nbytes : KEPT_MAX, OS_PAGE_BYTES);
	kept.base = nbytes ? (uintptr_t)os_map(nbytes) : 0;
	kept.nbytes = nbytes;
	if (kept.base)
		os_name(kept.base, nbytes, "spangc kept");
	mark_limit_work(nbytes / 4);            /* the rest is for marks and for what is leaked */
}

static void use_kept_memory(void)
{
	if (kept.base)
		os_unmap(kept.base, kept.nbytes);
	kept.base = 0;
}

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

	return c == SIZECLASS_LARGE ? slot_bytes : slot_bytes - heap.tail_bytes;
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

	if (!mark_is_marked((uintptr_t)p))
		l->nblocks++;
	else if (!record_get(p, b).is_ignored)
		sum_add(&l->reachable, record_get(p, b).nbytes, 1);
}

static void add_reachable(const void *p, const struct block *b, void *arg)
{
	struct leaks *l = arg;
	struct record r = record_get(p, b);

	if (!mark_is_marked((uintptr_t)p) || r.is_ignored)
		return;
	entries_add(&l->entries, &r, 0);
	sum_add(&l->reachable, r.nbytes, 1);
}

static void add_any(const void *p, const struct block *b, void *arg)
{
	struct leaks *l = arg;
	struct record r = record_get(p, b);

	if (!r.is_ignored)
		entries_add(&l->entries, &r, 0);
}

/* A thread that did not answer runs on, and may have lost more since they were counted. */
static void note(const void *p, const struct block *b, void *arg)
{
	struct leaks *l = arg;

	if (mark_is_marked((uintptr_t)p) || l->nblocks == nroom)
		return;

	struct record r = record_get(p, b);
	bool is_scanned = b->class == SIZECLASS_LARGE || !sizeclass_is_noscan(b->class);

	l->blocks[l->nblocks++] = (struct leaks_block){
		.p = (uintptr_t)p, .nreadable = is_scanned ? b->usable : 0, .nbytes = r.nbytes,
		.stack = r.stack, .thread = r.thread, .birth = r.birth,
		.is_reported = r.is_reported,
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

	nroom = l->nblocks;
	l->nblocks = 0;
	record_visit_blocks(note, l);
	leaks_classify(l->blocks, (uint32_t)l->nblocks, list, find_word);
	return NULL;
}

/* Behind what was asked for nothing is the block's but its end: some programs (perl) keep addresses
 * before a block, which are behind another one. A record that was overwritten says 0 at worst. */
static bool is_inside(uintptr_t block, size_t offset)
{
	struct block b;
	size_t nbytes = block_find((void *)block, &b) ? record_get((void *)block, &b).nbytes : 0;

	return offset <= nbytes || !nbytes;
}

bool leaks_start_marking(void)
{
	mark_set_align(aligns[knobs.scan_align]);
	mark_set_workers(workers_wanted(snapshot_is_copy() ? WORKERS_BESIDE : WORKERS_ALONE));
	if (!mark_start())
		return false;
	mark_measure_with(readable);
	mark_decide_with(is_inside);
	return true;
}

static const char *look(struct leaks *l, enum leaks_kind kind)
{
	const char *why = NULL;

	if (kind == LEAKS_DIFF) {
		record_visit_blocks(add_any, l);
		return NULL;
	}
	if (!leaks_start_marking())
		return "no memory for marks";
	if (!roots_visit(mark_root, NULL)) {
		mark_end();
		return "/proc/self/maps can't be read";
	}
	mark_drain();
	record_visit_blocks(mark_ignored, NULL);
	mark_drain();
	if (kind == LEAKS_PROFILE)
		record_visit_blocks(add_reachable, l);
	else
		why = collect(l);
	mark_end();
	return why;
}

/* --- by stack --- */

static void group(struct leaks *l)
{
	for (size_t i = 0; i < l->nblocks; i++) {
		const struct leaks_block *b = &l->blocks[i];
		const struct record r = { .nbytes = b->nbytes, .stack = b->stack,
			                  .thread = b->thread, .birth = b->birth };
		struct leaks_entry *e = entries_add(&l->entries, &r, b->is_direct);

		e->is_direct = b->is_direct;
		e->indirect_bytes += b->indirect_bytes;
		sum_add(b->is_direct ? &l->direct : &l->indirect, b->nbytes, 1);
	}
}

const char *leaks_find(struct leaks *l, enum leaks_kind kind)
{
	uint64_t before = os_now_ns();
	bool is_copy = snapshot_is_copy();

	memset(l, 0, sizeof *l);
	if (!is_copy)
		modules_note();
	if (!is_copy && !scan_stop())
		return "threads can't be stopped";
	use_kept_memory();

	const char *why = entries_start(&l->entries, kind == LEAKS_REPORT ? 2 : 1)
	                  ? look(l, kind) : "no memory for a report";

	l->nthreads = scan_stop_info().nthreads + 1;
	l->nmissed = scan_stop_info().nmissed;
	if (is_copy) {
		l->pause = snapshot_pause();
	} else {
		scan_resume();
		kernel_tell();
		l->pause.stop_ns = scan_stop_info().ns;
		l->pause.all_ns = os_now_ns() - before;
	}
	if (why)
		return why;
	if (kind == LEAKS_REPORT)
		group(l);
	entries_finish(&l->entries);
	return NULL;
}

/* As the entries they went into, two a stack, whose order is that of their stacks. */
static void suppress_blocks(struct leaks *l)
{
	for (size_t i = 0; i < l->nblocks; i++) {
		struct leaks_block *b = &l->blocks[i];
		const struct leaks_entry *e = entries_find(&l->entries, b->stack);

		b->is_suppressed = e && e->is_suppressed;
	}
}

void leaks_suppress(struct leaks *l, bool (*is_suppressed)(const struct leaks_entry *e))
{
	for (uint32_t i = 0; i < l->entries.n; i++) {
		struct leaks_entry *e = &l->entries.list[i];
		struct leaks_sum *from = e->is_direct ? &l->direct : &l->indirect;

		if (!is_suppressed(e))
			continue;
		e->is_suppressed = true;
		/* An estimate may be more than there is. */
		from->nbytes -= e->sum.nbytes < from->nbytes ? e->sum.nbytes : from->nbytes;
		from->nblocks -= e->sum.nblocks < from->nblocks ? e->sum.nblocks : from->nblocks;
		sum_add(&l->suppressed, e->sum.nbytes, e->sum.nblocks);
	}
	suppress_blocks(l);
}

void leaks_drop(struct leaks *l)
{
	scratch_drop(&block_memory);
	entries_drop(&l->entries);
	memset(l, 0, sizeof *l);
	leaks_keep_memory();
}
