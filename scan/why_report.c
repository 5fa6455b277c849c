/* why_report.c: the question in, the answer out: see why.h.
 *
 * Reached from leaks_report.c, in the process or in a copy of it. Depends on why.c, stacks.h,
 * symbols.h, and why_text.c and why_json.c for the words. Which stacks a text means is found out
 * before the world is stopped.
 */
#include "scan/why.h"

#include "core/knobs.h"
#include "core/report_file.h"
#include "scan/maps.h"
#include "scan/modules.h"
#include "scan/report_formats.h"
#include "scan/scratch.h"
#include "scan/snapshot.h"
#include "scan/stacks.h"
#include "scan/symbols.h"
#include "scan/threads.h"

#include <string.h>

/* Not on the stack: what the calling thread's frames hold is a root. */
static struct why why;
static struct out out;
static struct scratch stack_memory;

/* --- the question --- */

static bool parse_address(const char *text)
{
	const char *digits = text + 2;

	if (strncmp(text, "0x", 2) != 0)
		return false;
	why.is_address = true;
	why.address = maps_hex(&digits);
	if (*digits || digits == text + 2 || digits - text > 18)
		why.unclear = "no address";
	return true;
}

static bool parse_number(const char *text)
{
	uint32_t n = 0;

	if (*text != '#')
		return false;
	for (text++; *text >= '0' && *text <= '9'; text++)
		n = n < why.nstacks ? n * 10 + (uint32_t)(*text - '0') : n;
	if (*text || text[-1] == '#')
		why.unclear = "no number of a stack";
	else if (n == STACKS_NONE || n >= why.nstacks)
		why.unclear = "there is no stack of that number";
	else
		why.stacks[n] = 1;
	return true;
}

const char *why_last_part(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash ? slash + 1 : path;
}

const struct symbol *why_variable(const struct why *w)
{
	const struct symbol *s = NULL;

	if (w->root.at && (w->root.kind == WHY_ROOT_MEMORY || w->root.kind == WHY_ROOT_TLS))
		symbols_get(w->root.at, &s);
	return s && s->module ? s : NULL;
}

void why_say(struct out *o, const char *before, uint64_t n, const char *after)
{
	out_str(o, before);
	out_dec(o, n);
	out_str(o, after);
}

void why_say_hex(struct out *o, const char *before, uint64_t n, const char *after)
{
	out_str(o, before);
	out_hex(o, n);
	out_str(o, after);
}

static bool has(const char *name, const char *text)
{
	return name && strstr(name, text);
}

static bool is_matched(uint32_t stack, const char *text)
{
	const uintptr_t *pcs;
	unsigned npcs = stacks_get(stack, &pcs);

	for (unsigned i = 0; i < npcs; i++) {
		const struct symbol *frames;
		unsigned n = symbols_get(pcs[i], &frames);

		for (unsigned f = 0; f < n; f++) {
			if (has(frames[f].function, text) || has(why_last_part(frames[f].module), text))
				return true;
		}
	}
	return false;
}

static void match(const struct leaks_request *r)
{
	if (!symbols_start())
		return;
	for (uint32_t s = 1; s < why.nstacks; s++)
		report_want(s);
	symbols_run(r->helper, r->env);
	for (uint32_t s = 1; s < why.nstacks; s++)
		why.stacks[s] = is_matched(s, r->argument);
	symbols_drop();
}

static const char *understand(const struct leaks_request *r)
{
	memset(&why, 0, sizeof why);
	why.unclear = r->argument && *r->argument ? NULL : "an address 0x.., or a stack: text or #number";
	if (why.unclear || parse_address(r->argument))
		return NULL;
	why.nstacks = stacks_count();
	why.stacks = scratch_take(&stack_memory, why.nstacks + 1);
	if (!why.stacks)
		return "no memory";
	if (!parse_number(r->argument))
		match(r);
	return NULL;
}

/* --- all of it --- */

static const char *find(void)
{
	bool is_copy = snapshot_is_copy();
	const char *reason;

	if (!is_copy)
		modules_note();
	if (!is_copy && !scan_stop())
		return "threads can't be stopped";
	reason = why_find(&why);
	if (!is_copy)
		scan_resume();
	return reason;
}

static void look_up(const struct leaks_request *r)
{
	if (!symbols_start())
		return;
	report_want(why.record.stack);
	for (unsigned i = 0; i < WHY_SHOWN; i++) {
		report_want(why.head[i].record.stack);
		report_want(why.tail[i].record.stack);
	}
	why_look_up_root(&why.root, r->pid);
	symbols_run(r->helper, r->env);
}

static const char *write_answer(const struct leaks_request *r)
{
	unsigned format = r->format >= 0 ? (unsigned)r->format : (unsigned)knobs.report_format;

	out = (struct out){ .fd = r->fd >= 0 ? r->fd : report_file_open(r->fallback) };
	if (format == KNOB_REPORT_JSON)
		why_json(&out, &why, r);
	else
		why_text(&out, &why, r);
	out_flush(&out);
	if (r->fd < 0)
		report_file_close(out.fd, r->fallback);
	return out.has_failed ? "it can't be written" : NULL;
}

const char *why_report(const struct leaks_request *r)
{
	const char *reason = understand(r);

	if (!reason && !why.unclear)
		reason = find();
	if (!reason) {
		look_up(r);
		reason = write_answer(r);
		symbols_drop();
	}
	why_drop();
	scratch_drop(&stack_memory);
	memset(&why, 0, sizeof why);
	return reason;
}
