/* leaks_report.c: what leaks.c found, in words.
 *
 * Reached from preload/exit.c and the public calls. Depends on leaks.h, stacks.h, symbols.h,
 * suppress.h and out.h. Everything is written with the world running.
 *
 * A report that could not be written whole is cut off the file again, and that is one line on
 * stderr.
 */
#include "scan/leaks_report.h"

#include "core/knobs.h"
#include "core/report.h"
#include "core/report_file.h"
#include "scan/leaks.h"
#include "scan/out.h"
#include "scan/stacks.h"
#include "scan/suppress.h"
#include "scan/symbols.h"

#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

static struct out out;
static struct leaks found;

static uint32_t reported(void)
{
	uint32_t n = 0;

	while (n < found.nentries && !found.entries[n].is_suppressed)
		n++;
	return n;
}

/* --- frames, with their inlined ones --- */

typedef void frame_fn(const struct symbol *s, unsigned number);

static void visit_frames(uint32_t stack, frame_fn *fn)
{
	const uintptr_t *pcs;
	unsigned npcs = stacks_get(stack, &pcs), number = 0;

	for (unsigned i = 0; i < npcs; i++) {
		const struct symbol *frames;
		unsigned n = symbols_get(pcs[i], &frames);

		for (unsigned f = 0; f < n; f++)
			fn(&frames[f], number++);
	}
}

static void out_place(const struct symbol *s)
{
	if (s->file) {
		out_str(&out, " ");
		out_str(&out, s->file);
		out_str(&out, s->line ? ":" : "");
		if (s->line)
			out_dec(&out, s->line);
	} else if (s->module) {
		out_str(&out, " (");
		out_str(&out, s->module);
		out_str(&out, "+");
		out_hex(&out, s->offset);
		out_str(&out, ")");
	}
}

/* --- text --- */

static void text_frame(const struct symbol *s, unsigned number)
{
	out_str(&out, "    #");
	out_dec(&out, number);
	out_str(&out, " ");
	out_hex(&out, s->pc);
	if (s->function) {
		out_str(&out, " in ");
		out_str(&out, s->function);
	}
	if (number > 0 || !s->function)
		out_place(s);
	out_str(&out, "\n");
}

static void text_sum(const char *before, const struct leaks_sum *sum, const char *between,
                     const char *after)
{
	out_str(&out, before);
	out_dec(&out, sum->nbytes);
	out_str(&out, between);
	out_dec(&out, sum->nblocks);
	out_str(&out, after);
}

static void text_us(const char *before, uint64_t ns)
{
	out_str(&out, before);
	out_dec(&out, ns / 1000);
}

static void text_entry(const struct leaks_entry *e)
{
	const uintptr_t *pcs;

	text_sum(e->is_direct ? "Direct leak of " : "Indirect leak of ", &e->sum, " byte(s) in ",
	         " object(s) allocated from:\n");
	if (!stacks_get(e->stack, &pcs))
		out_str(&out, "    <empty stack>\n");
	visit_frames(e->stack, text_frame);
	out_str(&out, "\n");
}

/* How long the program stood still, if it goes on. */
static void text_pause(void)
{
	text_us("Paused: ", found.pause.all_ns);
	text_us(" us (stop ", found.pause.stop_ns);
	if (found.pause.copy_ns)
		text_us(" us, copy ", found.pause.copy_ns);
	out_str(&out, found.pause.copy_ns ? " us), " : " us; no copy could be made), ");
	out_dec(&out, found.nthreads);
	out_str(&out, found.nthreads == 1 ? " thread.\n\n" : " threads.\n\n");
}

static void text_report(const struct leaks_request *r, uint32_t n)
{
	struct leaks_sum all = { found.direct.nbytes + found.indirect.nbytes,
		                 found.direct.nblocks + found.indirect.nblocks };

	out_str(&out, "==");
	out_dec(&out, r->pid);
	out_str(&out, "==ERROR: spangc: detected memory leaks\n\n");
	for (uint32_t i = 0; i < n; i++)
		text_entry(&found.entries[i]);
	if (found.suppressed.nblocks)
		text_sum("Suppressed: ", &found.suppressed, " byte(s) in ", " object(s).\n\n");
	if (r->goes_on)
		text_pause();
	text_sum("SUMMARY: spangc: ", &all, " byte(s) leaked in ", " allocation(s).\n");
}

/* --- json --- */

static void json_number(const char *name, uint64_t n)
{
	out_str(&out, name);
	out_dec(&out, n);
}

static void json_sum(const char *bytes, const char *blocks, const struct leaks_sum *sum)
{
	json_number(bytes, sum->nbytes);
	json_number(blocks, sum->nblocks);
}

static void json_string(const char *name, const char *s)
{
	out_str(&out, name);
	out_json(&out, s);
}

static void json_hex(const char *name, uint64_t n)
{
	out_str(&out, name);
	out_str(&out, "\"");
	out_hex(&out, n);
	out_str(&out, "\"");
}

static void json_frame(const struct symbol *s, unsigned number)
{
	json_hex(number ? ",{\"pc\":" : "{\"pc\":", s->pc);
	json_string(",\"function\":", s->function);
	json_string(",\"file\":", s->file);
	if (s->line)
		json_number(",\"line\":", s->line);
	else
		out_str(&out, ",\"line\":null");
	json_string(",\"module\":", s->module);
	if (s->module)
		json_hex(",\"offset\":", s->offset);
	else
		out_str(&out, ",\"offset\":null");
	out_str(&out, "}");
}

static void json_entry(const struct leaks_entry *e, bool is_first)
{
	out_str(&out, is_first ? "\n{\"kind\":\"" : ",\n{\"kind\":\"");
	out_str(&out, e->is_direct ? "direct\"" : "indirect\"");
	json_sum(",\"bytes\":", ",\"blocks\":", &e->sum);
	json_number(",\"indirect_bytes\":", e->indirect_bytes);
	out_str(&out, ",\"stack\":[");
	visit_frames(e->stack, json_frame);
	out_str(&out, "]}");
}

static void json_report(const struct leaks_request *r, uint32_t n)
{
	uint64_t ms = r->ms;

	json_string("{\"tool\":\"spangc\",\"version\":", r->version);
	json_number(",\"pid\":", r->pid);
	json_string(",\"program\":", (const char *)getauxval(AT_EXECFN));
	json_string(",\"when\":", r->when);
	json_number(",\"seconds\":", ms / 1000);
	json_number(ms % 1000 < 10 ? ".00" : ms % 1000 < 100 ? ".0" : ".", ms % 1000);
	json_number(",\"pause_us\":", found.pause.all_ns / 1000);
	json_number(",\"stop_us\":", found.pause.stop_ns / 1000);
	json_number(",\"copy_us\":", found.pause.copy_ns / 1000);
	json_number(",\"threads\":", found.nthreads);
	out_str(&out, ",\n\"summary\":{");
	json_sum("\"direct_bytes\":", ",\"direct_blocks\":", &found.direct);
	json_sum(",\"indirect_bytes\":", ",\"indirect_blocks\":", &found.indirect);
	json_sum(",\"suppressed_bytes\":", ",\"suppressed_blocks\":", &found.suppressed);
	json_sum(",\"reachable_bytes\":", ",\"reachable_blocks\":", &found.reachable);
	out_str(&out, "},\n\"leaks\":[");
	for (uint32_t i = 0; i < n; i++)
		json_entry(&found.entries[i], i == 0);
	out_str(&out, "]}\n");
}

/* --- folded: the outermost frame first --- */

static void folded_name(const struct symbol *s)
{
	const char *name = s->function ? s->function : s->module ? s->module : "?";
	const char *slash = s->function ? NULL : strrchr(name, '/');

	for (name = slash ? slash + 1 : name; *name; name++)
		out_bytes(&out, *name == ';' || *name == '\n' ? ":" : name, 1);
	if (!s->function) {
		out_str(&out, "+");
		out_hex(&out, s->module ? s->offset : s->pc);
	}
}

static void folded_entry(const struct leaks_entry *e)
{
	const uintptr_t *pcs;
	unsigned npcs = stacks_get(e->stack, &pcs);

	if (!npcs)
		out_str(&out, "?");
	for (unsigned i = npcs; i--;) {
		const struct symbol *frames;

		for (unsigned f = symbols_get(pcs[i], &frames); f--;) {
			folded_name(&frames[f]);
			out_str(&out, i || f ? ";" : "");
		}
	}
	json_number(" ", e->sum.nbytes);
	out_str(&out, "\n");
}

/* --- all of it --- */

static void look_up(const struct leaks_request *r)
{
	if (!found.nentries || !symbols_start())
		return;
	for (uint32_t i = 0; i < found.nentries; i++) {
		const uintptr_t *pcs;
		unsigned n = stacks_get(found.entries[i].stack, &pcs);

		for (unsigned f = 0; f < n; f++)
			symbols_want(pcs[f], f == 0);
	}
	symbols_run(r->helper, r->env);
	if (!knobs.suppressions)
		return;
	suppress_read((const char *)(uintptr_t)knobs.suppressions);
	leaks_suppress(&found, suppress_stack);
	suppress_drop();
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

static void write_report(const struct leaks_request *r)
{
	unsigned format = r->format >= 0 ? (unsigned)r->format : (unsigned)knobs.report_format;
	uint32_t n = reported();

	if (!n && format != KNOB_REPORT_JSON)
		return;

	int fd = open_report(r);
	off_t start = lseek(fd, 0, SEEK_END);

	out.fd = fd;
	out.has_failed = false;
	if (format == KNOB_REPORT_TEXT)
		text_report(r, n);
	else if (format == KNOB_REPORT_JSON)
		json_report(r, n);
	for (uint32_t i = 0; i < n && format == KNOB_REPORT_FOLDED; i++)
		folded_entry(&found.entries[i]);
	out_flush(&out);
	if (out.has_failed) {
		if (fd == r->fallback || start < 0 || ftruncate(fd, start))
			report_line("the report of leaks is not whole: it can't be written", NULL);
		else
			report_line("the report of leaks can't be written", NULL);
	}
	close_report(r, fd);
}

static uint64_t report_leaks(const struct leaks_request *request)
{
	const char *why = leaks_find(&found);

	if (why) {
		report_line("no report of leaks: ", why, NULL);
		leaks_drop(&found);
		return 0;
	}
	look_up(request);
	write_report(request);

	uint64_t nbytes = found.direct.nbytes + found.indirect.nbytes;
	uint64_t nblocks = found.direct.nblocks + found.indirect.nblocks;

	symbols_drop();
	leaks_drop(&found);
	return nblocks && !nbytes ? 1 : nbytes;
}

uint64_t leaks_report(const struct leaks_request *request)
{
	switch (request->kind) {
	case LEAKS_REPORT:
		return report_leaks(request);
	default:
		report_line("this version has no such report", NULL);
		return 0;
	}
}
