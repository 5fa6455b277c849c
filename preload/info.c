/* info.c: what the heap tells about itself: SPANGC_STATS=1, malloc_stats, mallinfo, mallinfo2,
 * malloc_info, spangc_stats_get.
 *
 * Reached from the program and from the library's destructor. All figures are stats_collect()'s,
 * taken before the first word is written; no lock is held while writing. Before there is a heap,
 * and when the library stands down, all are 0.
 *
 * What SPANGC_STATS=1 (where SPANGC_REPORT says) and malloc_stats() (on stderr) print, each line
 * with its head, so that the lines of several processes can be told apart:
 *
 *     ==PID==STATS: spangc: memory NAME BYTES MEANING          the parts add up to `heap`
 *     ==PID==STATS: spangc: class  ...                         a table, classes in use only
 *     ==PID==STATS: spangc: event  NAME COUNT [BYTES] MEANING
 *     in mode gc, more: info_gc.c
 *
 * glibc's words for it (mallinfo, malloc_info): the arena is what is accessible and was not given
 * back; fast blocks are the slots in magazines, ordinary ones the other free slots; nothing is
 * mapped apart, large blocks are in the arena; keepcost is what malloc_trim() can give back in
 * whole pages.
 */
#include "preload/preload.h"

#include "core/cache.h"
#include "core/heap.h"
#include "core/knobs.h"
#include "core/report.h"
#include "core/report_file.h"
#include "core/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEPT_FD_MIN 200                         /* out of the way of what programs number */
#define NAME_COLUMNS 12

/* stderr as it was at the start: some programs close theirs before our destructor. */
static struct {
	int fd;                                 /* -1: none */
	dev_t dev;
	ino_t ino;
} kept = { .fd = -1 };

static void collect(struct stats *st)
{
	if (cache_is_started())
		stats_collect(st);
	else
		memset(st, 0, sizeof *st);
}

/* --- text --- */

void info_text_head(struct text *t, const char *section)
{
	text_str(t, "==");
	text_dec(t, (uint64_t)getpid());
	text_str(t, "==STATS: spangc: ");
	text_left(t, section, sizeof "memory");
}

static void end_line(struct text *t, int fd)
{
	text_newline(t);
	text_flush(t, fd);
}

static void put_memory(int fd, const char *name, uint64_t nbytes, const char *meaning)
{
	struct text t = { 0 };

	info_text_head(&t, "memory");
	text_left(&t, name, NAME_COLUMNS);
	text_dec_width(&t, nbytes, 15);
	text_str(&t, "  ");
	text_str(&t, meaning);
	end_line(&t, fd);
}

static void put_memories(int fd, const struct stats *st)
{
	put_memory(fd, "small", st->used_bytes, "held by the program, in slots");
	put_memory(fd, "large", st->large_bytes, "held by the program, in whole pages");
	put_memory(fd, "magazines", st->magazine_bytes, "free slots at hand for a thread");
	put_memory(fd, "windows", st->current_bytes, "free slots of spans being taken from");
	put_memory(fd, "partial", st->partial_bytes, "free slots of other spans");
	put_memory(fd, "remote", st->remote_bytes, "slots freed by others, not collected");
	put_memory(fd, "tails", st->tail_bytes, "behind the last slots of spans");
	put_memory(fd, "free", st->dirty_bytes, "free pages, resident");
	put_memory(fd, "lazy", st->lazy_bytes, "free pages, the kernel may take them");
	put_memory(fd, "released", st->released_bytes, "free pages, given back");
	put_memory(fd, "untouched", st->untouched_bytes, "free pages, never used");
	put_memory(fd, "heap", st->heap_bytes, "all of the above");
	put_memory(fd, "reserved", st->reserved_bytes, "addresses for the heap to grow");
	put_memory(fd, "peak", st->peak_bytes, "most that was not free, at once");
	put_memory(fd, "metadata", st->metadata_bytes, "records and tables, beside the heap");
}

static void put_titles(int fd)
{
	static const char *const titles[] = { "spans", "slots", "used", "magazine", "window",
		                              "partial", "remote", "waste" };
	struct text t = { 0 };

	info_text_head(&t, "class");
	text_right(&t, "slot", 5);
	for (size_t i = 0; i < sizeof titles / sizeof *titles; i++)
		text_right(&t, titles[i], 9);
	end_line(&t, fd);
}

static void put_class(int fd, const struct stats *st, unsigned c)
{
	const struct stats_class *sc = &st->class[c];
	const uint64_t columns[] = { sc->nspans, stats_slots(st, c), sc->nused, sc->nmagazine,
		                     sc->ncurrent, sc->npartial, sc->nremote,
		                     sc->nspans * stats_tail(c) };
	struct text t = { 0 };

	if (!sc->nspans)
		return;
	info_text_head(&t, "class");
	text_dec_width(&t, heap.classes->class[c].slot_bytes, 5);
	for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
		text_dec_width(&t, columns[i], 9);
	if (sizeclass_is_noscan((class_idx)c))
		text_str(&t, "  noscan");
	end_line(&t, fd);
}

static void put_classes(int fd, const struct stats *st)
{
	put_titles(fd);
	for (unsigned c = 1; c < SIZECLASS_LARGE; c++)
		put_class(fd, st, c);
}

static void put_event(int fd, const char *name, uint64_t n, const char *meaning)
{
	struct text t = { 0 };

	info_text_head(&t, "event");
	text_left(&t, name, NAME_COLUMNS);
	text_dec_width(&t, n, 15);
	text_str(&t, "  ");
	text_str(&t, meaning);
	end_line(&t, fd);
}

static void put_calls(int fd, const char *name, const struct stats_calls *calls,
                      const char *meaning)
{
	struct text t = { 0 };

	info_text_head(&t, "event");
	text_left(&t, name, NAME_COLUMNS);
	text_dec_width(&t, calls->ncalls, 15);
	text_str(&t, "  ");
	text_dec(&t, calls->nbytes);
	text_str(&t, " bytes ");
	text_str(&t, meaning);
	end_line(&t, fd);
}

static void put_events(int fd, const struct stats *st)
{
	put_event(fd, "caches", st->ncaches, "caches made");
	put_event(fd, "threads", st->ncaches_used, "caches of a living thread");
	put_event(fd, "records", st->nrecords, "span records made");
	put_event(fd, "batches", st->nbatches, "batches between caches and spans");
	put_event(fd, "news", st->nnews, "spans with frees to be collected");
	put_event(fd, "large", st->nlarge, "large blocks held");
	put_event(fd, "moved", st->nlarge_moved, "of them: grown by moving pages");
	put_event(fd, "wait_cache", st->nwaits_cache, "waits for the lock of a cache");
	put_event(fd, "wait_central", st->nwaits_central, "waits for the lock of ownerless spans");
	put_event(fd, "wait_pages", st->nwaits_pages, "waits for the lock of pages");
	put_calls(fd, "dontneed", &st->dontneed, "given back by MADV_DONTNEED calls");
	put_calls(fd, "free", &st->lazy, "given back by MADV_FREE calls");
	put_calls(fd, "tables", &st->tables, "of tables given back, the same way");
	put_event(fd, "refused", st->nrefused, "madvise calls that the kernel refused");
	put_event(fd, "madvise_ns", st->madvise_ns, "nanoseconds in all these calls");
	put_event(fd, "trimmed", st->trimmed_bytes, "bytes given back under free slots, now");
	put_event(fd, "reused", st->reused_bytes, "bytes given back and handed out again");
	put_event(fd, "rounds", st->nrounds, "rounds of giving back");
	put_event(fd, "cpu_us", st->cpu_us, "microseconds of processor time in them");
	put_event(fd, "helpers", st->nhelpers, "helper threads started");
}

static void print(int fd)
{
	struct stats st;

	collect(&st);
	put_memories(fd, &st);
	put_classes(fd, &st);
	put_events(fd, &st);
	if (knobs.mode == KNOB_MODE_GC)
		info_gc_write(fd);
}

static bool is_same_file(int fd)
{
	struct stat now;

	return fd >= 0 && !fstat(fd, &now) && now.st_dev == kept.dev && now.st_ino == kept.ino;
}

/* Not before the library's start: the knobs. */
static __attribute__((constructor)) void keep_stderr(void)
{
	struct stat now;

	if (!cache_is_started() || (!knobs.stats && knobs.mode == KNOB_MODE_MALLOC)
	    || fstat(STDERR_FILENO, &now))
		return;
	kept.fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, KEPT_FD_MIN);
	kept.dev = now.st_dev;
	kept.ino = now.st_ino;
}

int info_stderr(void)
{
	if (fcntl(STDERR_FILENO, F_GETFD) >= 0)
		return STDERR_FILENO;
	return is_same_file(kept.fd) ? kept.fd : -1;    /* else it is the program's by now */
}

void info_write(int fd)
{
	print(fd);
}

void info_print(void)
{
	int fallback = info_stderr(), fd = report_file_open(fallback);

	if (fd >= 0)
		print(fd);
	report_file_close(fd, fallback);
}

/* Keeps errno, and is no cancellation point, as text_flush() is none. */
EXPORT void malloc_stats(void)
{
	print(STDERR_FILENO);
}

/* --- glibc's structures --- */

static uint64_t arena_bytes(const struct stats *st)
{
	return st->heap_bytes - st->released_bytes - st->untouched_bytes;
}

static uint64_t in_use_bytes(const struct stats *st)
{
	return st->used_bytes + st->large_bytes;
}

/* 0 where parts read at different times do not fit each other. */
static uint64_t less(uint64_t n, uint64_t part)
{
	return n > part ? n - part : 0;
}

static uint64_t free_slots(const struct stats_class *sc)
{
	return sc->ncurrent + sc->npartial + sc->nremote;
}

EXPORT struct mallinfo2 mallinfo2(void)
{
	struct mallinfo2 m = { 0 };
	struct stats st;

	collect(&st);
	for (unsigned c = 1; c < SIZECLASS_LARGE; c++) {
		m.ordblks += free_slots(&st.class[c]);
		m.smblks += st.class[c].nmagazine;
	}
	m.arena = arena_bytes(&st);
	m.fsmblks = st.magazine_bytes;
	m.uordblks = in_use_bytes(&st);
	m.fordblks = less(m.arena, m.uordblks);
	m.keepcost = st.dirty_bytes;
	return m;
}

static int saturated(size_t n)
{
	return n < INT_MAX ? (int)n : INT_MAX;
}

EXPORT struct mallinfo mallinfo(void)
{
	struct mallinfo2 m = mallinfo2();

	return (struct mallinfo){
		.arena = saturated(m.arena),
		.ordblks = saturated(m.ordblks),
		.smblks = saturated(m.smblks),
		.fsmblks = saturated(m.fsmblks),
		.uordblks = saturated(m.uordblks),
		.fordblks = saturated(m.fordblks),
		.keepcost = saturated(m.keepcost),
	};
}

EXPORT struct mallinfo __libc_mallinfo(void) __attribute__((alias("mallinfo")));

/* --- malloc_info --- */

/* Of the program's streams only this is used (scripts/check-symbols); it may call malloc. */
static void put(struct text *t, FILE *fp)
{
	text_newline(t);
	(void)fwrite(t->buf, 1, t->len, fp);
	t->len = 0;
}

static void text_attribute(struct text *t, const char *name, uint64_t n)
{
	text_str(t, " ");
	text_str(t, name);
	text_str(t, "=\"");
	text_dec(t, n);
	text_str(t, "\"");
}

/* The free slots of one size, scanned or not; `from` is the smallest request for it. */
static void put_size(FILE *fp, const struct stats *st, unsigned c, size_t from)
{
	uint64_t n = free_slots(&st->class[c]) + free_slots(&st->class[c + SIZECLASS_COUNT]);
	struct text t = { 0 };

	if (!n)
		return;
	text_str(&t, "  <size");
	text_attribute(&t, "from", from);
	text_attribute(&t, "to", heap.classes->class[c].slot_bytes);
	text_attribute(&t, "total", n * heap.classes->class[c].slot_bytes);
	text_attribute(&t, "count", n);
	text_str(&t, "/>");
	put(&t, fp);
}

static void put_sizes(FILE *fp, const struct stats *st)
{
	struct text t = { 0 };

	text_str(&t, "<sizes>");
	put(&t, fp);
	for (unsigned c = 1; st->heap_bytes && c <= heap.classes->count; c++)
		put_size(fp, st, c, heap.classes->class[c - 1].slot_bytes + 1u);
	text_str(&t, "</sizes>");
	put(&t, fp);
}

static void put_total(FILE *fp, const char *type, uint64_t count, uint64_t nbytes)
{
	struct text t = { 0 };

	text_str(&t, "<total type=\"");
	text_str(&t, type);
	text_str(&t, "\"");
	text_attribute(&t, "count", count);
	text_attribute(&t, "size", nbytes);
	text_str(&t, "/>");
	put(&t, fp);
}

static void put_system(FILE *fp, const char *element, const char *type, uint64_t nbytes)
{
	struct text t = { 0 };

	text_str(&t, "<");
	text_str(&t, element);
	text_str(&t, " type=\"");
	text_str(&t, type);
	text_str(&t, "\"");
	text_attribute(&t, "size", nbytes);
	text_str(&t, "/>");
	put(&t, fp);
}

/* As in glibc, the system's bytes less those of the totals are in use by the program; `rest` has
 * free pages, too, which count as one. */
static void put_totals(FILE *fp, const struct stats *st)
{
	uint64_t arena = arena_bytes(st), nfast = 0, nrest = st->dirty_bytes + st->lazy_bytes > 0;
	uint64_t max = st->peak_bytes > arena ? st->peak_bytes : arena;

	for (unsigned c = 1; c < SIZECLASS_LARGE; c++) {
		nfast += st->class[c].nmagazine;
		nrest += free_slots(&st->class[c]);
	}
	put_total(fp, "fast", nfast, st->magazine_bytes);
	put_total(fp, "rest", nrest, less(arena, in_use_bytes(st) + st->magazine_bytes));
	put_system(fp, "system", "current", arena);
	put_system(fp, "system", "max", max);
	put_system(fp, "aspace", "total", st->heap_bytes);
	put_system(fp, "aspace", "mprotect", st->heap_bytes);
}

static void put_line(FILE *fp, const char *s)
{
	struct text t = { 0 };

	text_str(&t, s);
	put(&t, fp);
}

EXPORT int malloc_info(int options, FILE *fp)
{
	struct stats st;

	if (options != 0)
		return EINVAL;
	collect(&st);
	put_line(fp, "<malloc version=\"1\">\n<heap nr=\"0\">");
	put_sizes(fp, &st);
	put_totals(fp, &st);
	put_line(fp, "</heap>");
	put_totals(fp, &st);
	put_line(fp, "</malloc>");
	return 0;
}

/* --- ours --- */

EXPORT size_t spangc_stats_get(struct spangc_stats *out, size_t nbytes)
{
	struct spangc_stats s;
	struct stats st;

	collect(&st);
	s = (struct spangc_stats){
		.in_use_bytes = in_use_bytes(&st),
		.cached_bytes = st.magazine_bytes + st.current_bytes,
		.free_bytes = st.partial_bytes + st.remote_bytes + st.dirty_bytes,
		.waste_bytes = st.tail_bytes,
		.lazy_bytes = st.lazy_bytes,
		.released_bytes = st.released_bytes,
		.untouched_bytes = st.untouched_bytes,
		.heap_bytes = st.heap_bytes,
		.peak_bytes = st.peak_bytes,
		.metadata_bytes = st.metadata_bytes,
		.madvise_calls = st.dontneed.ncalls + st.lazy.ncalls + st.tables.ncalls,
		.madvise_bytes = st.dontneed.nbytes + st.lazy.nbytes + st.tables.nbytes,
		.madvise_ns = st.madvise_ns,
		.reused_bytes = st.reused_bytes,
	};
	if (knobs.mode == KNOB_MODE_GC)
		info_gc_fill(&s);
	memcpy(out, &s, nbytes < sizeof s ? nbytes : sizeof s);
	return sizeof s;
}
