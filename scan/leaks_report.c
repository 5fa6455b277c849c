/* leaks_report.c: from a request to a report that is written.
 *
 * Reached from preload/reports.c, in the process or in a copy of it. Depends on leaks.h, growth.h,
 * hidden.h, symbols.h, suppress.h, and report_formats.h for the words.
 *
 * A report is made in memory and written at once, so that those of several processes do not mix in one
 * file. If it can't be written whole it is cut off the file again, a file that was empty before is
 * removed, and that is one line on stderr.
 */
#include "scan/leaks_report.h"

#include "core/knobs.h"
#include "core/record.h"
#include "core/report.h"
#include "core/report_file.h"
#include "core/sigmask.h"
#include "scan/growth.h"
#include "scan/helper.h"
#include "scan/hidden.h"
#include "scan/leaks.h"
#include "scan/out.h"
#include "scan/peek.h"
#include "scan/report_formats.h"
#include "scan/scratch.h"
#include "scan/sort.h"
#include "scan/stacks.h"
#include "scan/suppress.h"
#include "scan/symbols.h"
#include "scan/why.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HIDDEN_MAX 256

static struct out out;
static struct leaks found;
static struct growth growth;
static struct hidden hidden[HIDDEN_MAX];
static struct scratch whole_memory;

/* That source lines are missing; copies of the process see it, if there is memory for that. */
static bool said_here, *has_said = &said_here;

/* --- what the formats share --- */

void report_frames(struct out *o, uint32_t stack, report_frame_fn *fn)
{
	const uintptr_t *pcs;
	unsigned npcs = stacks_get(stack, &pcs), number = 0;

	for (unsigned i = 0; i < npcs; i++) {
		const struct symbol *frames;
		unsigned n = symbols_get(pcs[i], &frames);

		for (unsigned f = 0; f < n; f++)
			fn(o, &frames[f], number++);
	}
}

uint64_t report_age(const struct report *r, unsigned birth)
{
	uint64_t ms = record_birth_ms(birth);

	return r->request->ms > ms ? (r->request->ms - ms) / 100 : 0;
}

void report_tenths(struct out *o, uint64_t tenths)
{
	out_dec(o, tenths / 10);
	out_str(o, ".");
	out_dec(o, tenths % 10);
}

/* Of samples there may be none though something was lost; what is left of the sums where all samples are
 * suppressed is theirs. */
bool report_has_leaks(const struct report *r)
{
	return r->nentries || (!r->found->suppressed.nblocks
	                       && r->found->direct.nblocks + r->found->indirect.nblocks);
}

/* Where the program's stderr is, or was at the start. */
static void say(const struct leaks_request *r, const char *what, const char *why)
{
	struct text t = { 0 };

	text_str(&t, "spangc: ");
	text_str(&t, what);
	text_str(&t, why);
	text_newline(&t);
	text_flush(&t, r->fallback);
}

/* --- writing --- */

/* Text and folded stacks of nothing are nothing, but not for who waits for an answer. */
static bool is_silent(const struct report *r, unsigned format)
{
	return r->request->kind == LEAKS_REPORT && r->request->fd < 0 && !report_has_leaks(r) && !r->nhidden
	       && (format == KNOB_REPORT_TEXT || format == KNOB_REPORT_FOLDED);
}

static bool make(const struct report *r, unsigned format, int fd)
{
	out = (struct out){ .fd = fd };
	if (format == KNOB_REPORT_TEXT)
		report_text(&out, r);
	else if (format == KNOB_REPORT_FOLDED)
		report_folded(&out, r);
	else
		report_json(&out, r);
	out_flush(&out);
	return !out.has_failed;
}

/* The file of the report in memory; -1: there is no memory for it. */
static int make_whole(const struct report *r, unsigned format)
{
	int fd = helper_file(), profile;

	if (fd < 0 || format != KNOB_REPORT_PPROF)
		return fd >= 0 && make(r, format, fd) ? fd : -1;
	profile = helper_file();
	if (make(r, KNOB_REPORT_JSON, fd) && profile >= 0 && report_pprof(fd, profile, r->request)) {
		syscall(SYS_close, fd);
		return profile;
	}
	say(r->request, "no profile for pprof: pprof.py is missing or failed; the report is json", "");
	syscall(SYS_close, profile);
	return fd;
}

/* At once, for appending is atomic then. */
static bool copy(int from, int to)
{
	off_t size = lseek(from, 0, SEEK_END);
	char *text = size > 0 ? scratch_take(&whole_memory, (size_t)size) : NULL;
	off_t done = 0;
	long n = 1;

	while (text && done < size && n > 0) {
		n = syscall(SYS_pread64, from, text + done, (size_t)(size - done), done);
		done += n > 0 ? n : 0;
	}

	bool is_written = size == 0
	                  || (text && done == size && sigmask_write(to, text, (size_t)size));

	scratch_drop(&whole_memory);
	return is_written;
}

static int open_report(const struct leaks_request *r)
{
	return r->fd >= 0 ? r->fd : report_file_open(r->fallback);
}

static void close_report(const struct leaks_request *r, int fd)
{
	if (fd != r->fd)
		report_file_close(fd, r->fallback);
}

/* A file that only has a part of this report. */
static void remove_empty(int fd)
{
	static char path[4096];
	char link[40], *end = link;
	long n;

	peek_put(&end, "/proc/thread-self/fd/");
	peek_put_number(&end, (unsigned)fd);
	n = readlink(link, path, sizeof path - 1);
	if (n > 0) {
		path[n] = '\0';
		unlink(path);
	}
}

static void fail(const struct leaks_request *r)
{
	if (r->has_failed)
		*r->has_failed = true;
}

static void give_up(const struct leaks_request *r, int fd, off_t start)
{
	bool is_cut = fd != r->fallback && fd != r->fd && start >= 0 && !ftruncate(fd, start);

	fail(r);
	if (is_cut && start == 0)
		remove_empty(fd);
	say(r, is_cut ? "the report can't be written"
	              : "the report is not whole: it can't be written", "");
}

/* True: all of it, or nothing, was to be written. */
static bool write_report(const struct report *r)
{
	const struct leaks_request *q = r->request;
	unsigned format = q->format >= 0 ? (unsigned)q->format : (unsigned)knobs.report_format;

	if (is_silent(r, format))
		return true;

	int whole = make_whole(r, format), fd = open_report(q);
	off_t start = lseek(fd, 0, SEEK_END);

	/* Two profiles in one file are none: the newer one stays. */
	if (format == KNOB_REPORT_PPROF && start > 0 && !ftruncate(fd, 0))
		start = 0;
	if (format == KNOB_REPORT_PPROF)
		format = KNOB_REPORT_JSON;

	bool is_written = whole >= 0 ? copy(whole, fd) : make(r, format, fd);

	if (!is_written)
		give_up(q, fd, start);
	close_report(q, fd);
	if (whole >= 0)
		syscall(SYS_close, whole);
	return is_written;
}

/* --- what is told --- */

void report_want(uint32_t stack)
{
	const uintptr_t *pcs;
	unsigned n = stacks_get(stack, &pcs);

	for (unsigned f = 0; f < n; f++)
		symbols_want(pcs[f], f == 0);
}

static bool is_larger(const void *left, const void *right)
{
	const struct hidden *a = left, *b = right;

	return a->sum.nbytes != b->sum.nbytes ? a->sum.nbytes > b->sum.nbytes
	                                      : a->stack < b->stack;
}

static uint32_t find_hidden(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < hidden_count() && n < HIDDEN_MAX; i++) {
		hidden[n] = hidden_get(i);
		n += hidden[n].sum.nblocks > 0;
	}
	sort(hidden, n, sizeof *hidden, is_larger);
	return n;
}

/* Why files and lines are missing, or NULL. */
static const char *look_up(const struct report *r)
{
	if (!symbols_start())
		return "no memory";
	for (uint32_t i = 0; i < found.entries.n; i++)
		report_want(found.entries.list[i].stack);
	for (uint32_t i = 0; i < r->nhidden; i++)
		report_want(r->hidden[i].stack);
	return symbols_run(r->request->helper, r->request->env);
}

/* Once; not for a report that has no entry. */
static void say_no_lines(const struct report *r, const char *why)
{
	if (!why || !r->nentries || *has_said)
		return;
	*has_said = true;
	say(r->request, "no source lines: ", why);
}

static void suppress(void)
{
	if (suppress_begin())
		leaks_suppress(&found, suppress_entry);
}

static uint32_t count_told(void)
{
	uint32_t n = 0;

	while (n < found.entries.n && !found.entries.list[n].is_suppressed)
		n++;
	return n;
}

static uint64_t tell(const struct leaks_request *request)
{
	struct report r = { .request = request, .found = &found, .growth = &growth,
		            .hidden = hidden };

	if (request->kind == LEAKS_REPORT)
		r.nhidden = find_hidden();

	const char *why = look_up(&r);

	if (request->kind == LEAKS_REPORT) {
		suppress();
		if (request->goes_on)
			hidden_list(&found);
	}
	entries_sort(&found.entries);
	r.nentries = count_told();
	if (write_report(&r))
		say_no_lines(&r, why);
	symbols_drop();

	uint64_t nbytes = found.direct.nbytes + found.indirect.nbytes;

	return nbytes ? nbytes : found.direct.nblocks + found.indirect.nblocks > 0;
}

static uint64_t report(const struct leaks_request *request)
{
	const char *why = leaks_find(&found, request->kind);
	uint64_t nbytes = 0;

	if (!why && request->kind == LEAKS_DIFF
	    && !growth_compare(&growth, &found.entries, request->ms))
		why = "no memory to compare with";
	if (why) {
		fail(request);
		say(request, "no report: ", why);
	} else {
		nbytes = tell(request);
	}
	leaks_drop(&found);
	return nbytes;
}

static void tell_why(const struct leaks_request *request)
{
	const char *reason = why_report(request);

	if (!reason)
		return;
	fail(request);
	say(request, "no answer: ", reason);
}

uint64_t leaks_report(const struct leaks_request *request)
{
	switch (request->kind) {
	case LEAKS_REPORT:
	case LEAKS_PROFILE:
	case LEAKS_DIFF:
		return report(request);
	case LEAKS_WHY:
		tell_why(request);
		return 0;
	}
	return 0;
}

void leaks_report_prepare(const struct leaks_request *request)
{
	bool *shared = has_said == &said_here ? snapshot_shared(sizeof *shared) : NULL;

	if (shared)
		has_said = shared;
	if (request->kind == LEAKS_DIFF)
		growth_prepare();
	else if (request->goes_on)
		hidden_prepare();
}

void leaks_report_finish(const struct leaks_request *request)
{
	if (request->goes_on && request->kind == LEAKS_REPORT)
		hidden_mark();
}
