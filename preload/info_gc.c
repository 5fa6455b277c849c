/* info_gc.c: what the collector tells about itself: its part of SPANGC_STATS=1 and of
 * spangc_stats_get().
 *
 * Reached from info.c, in mode gc. Behind the lines of info.c come
 *
 *     ==PID==STATS: spangc: gc     NAME COUNT MEANING
 *     ==PID==STATS: spangc: pause  NS COUNT MEANING          a row for each bucket that is not empty
 *
 * All figures are sums since the start, by fork or exec.
 */
#include "preload/preload.h"

#include "core/knobs.h"
#include "core/report.h"
#include "scan/dirty.h"
#include "scan/pauses.h"
#include "scan/tally.h"

#define NAME_COLUMNS 16

_Static_assert(SPANGC_NPAUSES == PAUSES_LAST_BITS - PAUSES_FIRST_BITS + 2, "octaves, and both ends");

static void put_line(struct text *t, int fd, const char *meaning)
{
	text_str(t, "  ");
	text_str(t, meaning);
	text_newline(t);
	text_flush(t, fd);
}

static void put(int fd, const char *name, uint64_t n, const char *meaning)
{
	struct text t = { 0 };

	info_text_head(&t, "gc");
	text_left(&t, name, NAME_COLUMNS);
	text_dec_width(&t, n, 15);
	put_line(&t, fd, meaning);
}

static void put_way(int fd)
{
	struct text t = { 0 };
	const char *dirty = tally_dirty();

	info_text_head(&t, "gc");
	text_left(&t, "writes", NAME_COLUMNS);
	text_right(&t, dirty ? dirty : "none", 15);
	put_line(&t, fd, "how they were seen in the last cycle");
}

static void put_sums(int fd)
{
	static const struct { enum tally what; const char *name, *meaning; } rows[] = {
		{ TALLY_FULL, "cycles_full", "that read all that lives" },
		{ TALLY_MINOR, "cycles_minor", "that read what is new or written" },
		{ TALLY_FAILED, "cycles_failed", "that reclaimed nothing" },
		{ TALLY_FALLBACKS, "fallbacks", "to another way of seeing writes" },
		{ TALLY_MARK_NS, "mark_ns", "marking beside the program, by the clock" },
		{ TALLY_SWEEP_NS, "sweep_ns", "sweeping, by the clock" },
		{ TALLY_CPU_NS, "cpu_ns", "of the thread that collects" },
		{ TALLY_ASSIST_NS, "assist_ns", "of processor, of threads that allocate and help" },
		{ TALLY_READ_BYTES, "read_bytes", "read by marking, blocks and roots" },
		{ TALLY_MARKED_BLOCKS, "marked_blocks", "found alive" },
		{ TALLY_MARKED_BYTES, "marked_bytes", "of their slots" },
		{ TALLY_RECLAIMED_BLOCKS, "reclaimed_blocks", "that nothing led to" },
		{ TALLY_RECLAIMED_BYTES, "reclaimed_bytes", "of their slots" },
		{ TALLY_DIRTY_PAGES, "dirty_pages", "written during marking, read again" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		put(fd, rows[i].name, tally_get(rows[i].what), rows[i].meaning);
	put(fd, "faults", dirty_counts().nfaults, "of writes while they are seen, as far as known");
	put(fd, "calls", dirty_counts().ncalls, "of the kernel, looked at for what it writes");
}

static void put_bucket(int fd, uint64_t end_ns, uint64_t n)
{
	struct text t = { 0 };

	info_text_head(&t, "pause");
	if (end_ns == UINT64_MAX)
		text_left(&t, "more", NAME_COLUMNS);
	else
		text_dec_width(&t, end_ns, NAME_COLUMNS);
	text_dec_width(&t, n, 15);
	put_line(&t, fd, "stops shorter than so many ns");
}

static void put_pauses(int fd)
{
	struct pauses p;

	pauses_get(&p);
	put(fd, "stops", p.n, "of all threads");
	put(fd, "stop_ns", p.sum_ns, "of all of them");
	put(fd, "stop_p50_ns", pauses_quantile_ns(&p, 500), "half of them were shorter");
	put(fd, "stop_p99_ns", pauses_quantile_ns(&p, 990), "99 of 100 were shorter");
	put(fd, "stop_max_ns", p.max_ns, "the longest");
	for (unsigned i = 0; i < PAUSES_NBUCKETS; i++) {
		if (p.counts[i])
			put_bucket(fd, pauses_bucket_ns(i), p.counts[i]);
	}
}

void info_gc_write(int fd)
{
	put_way(fd);
	put_sums(fd);
	put_pauses(fd);
}

/* Quarters of octaves as octaves: the first and the last bucket stand alone. */
static unsigned octave_of(unsigned i)
{
	return (i + PAUSES_STEPS - 1) / PAUSES_STEPS;
}

static void fill_pauses(struct spangc_stats *s)
{
	struct pauses p;

	pauses_get(&p);
	s->gc_pauses = p.n;
	s->gc_pause_ns = p.sum_ns;
	s->gc_pause_max_ns = p.max_ns;
	for (unsigned i = 0; i < PAUSES_NBUCKETS; i++)
		s->gc_pause_counts[octave_of(i)] += p.counts[i];
}

void info_gc_fill(struct spangc_stats *s)
{
	s->gc_full_cycles = tally_get(TALLY_FULL);
	s->gc_minor_cycles = tally_get(TALLY_MINOR);
	s->gc_failed_cycles = tally_get(TALLY_FAILED);
	s->gc_fallbacks = tally_get(TALLY_FALLBACKS);
	s->gc_mark_ns = tally_get(TALLY_MARK_NS);
	s->gc_sweep_ns = tally_get(TALLY_SWEEP_NS);
	s->gc_cpu_ns = tally_get(TALLY_CPU_NS);
	s->gc_assist_ns = tally_get(TALLY_ASSIST_NS);
	s->gc_read_bytes = tally_get(TALLY_READ_BYTES);
	s->gc_marked_bytes = tally_get(TALLY_MARKED_BYTES);
	s->gc_reclaimed_blocks = tally_get(TALLY_RECLAIMED_BLOCKS);
	s->gc_reclaimed_bytes = tally_get(TALLY_RECLAIMED_BYTES);
	s->gc_dirty_pages = tally_get(TALLY_DIRTY_PAGES);
	s->gc_faults = dirty_counts().nfaults;
	fill_pauses(s);
}
