/* why_json.c: why.h's answer for programs: one object. Reached from why_report.c. */
#include "scan/why.h"

#include "scan/report_formats.h"
#include "scan/stacks.h"
#include "scan/symbols.h"

#include <string.h>

/* Of one answer at a time. */
static struct out *out;
static const struct why *why;

static void json_string(const char *name, const char *s)
{
	out_str(out, name);
	out_json(out, s);
}

static void json_address(const char *name, uint64_t n)
{
	why_say_hex(out, name, n, "\"");
}

static void json_block(uintptr_t p, const struct record *r)
{
	json_address("\"address\":\"", p);
	why_say(out, ",\"bytes\":", r->nbytes, "");
	why_say(out, ",\"stack_number\":", r->stack, ",\"stack\":[");
	report_frames(out, r->stack, report_json_frame);
	out_str(out, "]");
}

static void json_root(void)
{
	static const char *const kinds[] = {
		[WHY_ROOT_UNKNOWN] = "unknown", [WHY_ROOT_MEMORY] = "memory", [WHY_ROOT_TLS] = "tls",
		[WHY_ROOT_STACK] = "stack", [WHY_ROOT_REGISTERS] = "registers",
		[WHY_ROOT_ALTSTACK] = "altstack", [WHY_ROOT_ARGUMENT] = "thread argument",
		[WHY_ROOT_EPOLL] = "epoll", [WHY_ROOT_TIMER] = "timer", [WHY_ROOT_ADDED] = "added",
		[WHY_ROOT_IGNORED] = "ignored",
	};
	const struct why_root *root = &why->root;
	const struct symbol *s = why_variable(why);

	json_string(",\n\"root\":{\"kind\":", kinds[root->kind]);
	if (root->at)
		json_address(",\"address\":\"", root->at);
	else
		out_str(out, ",\"address\":null");
	why_say(out, ",\"tid\":", (uint64_t)root->tid, "");
	json_string(",\"thread\":", root->thread[0] ? root->thread : NULL);
	json_string(",\"mapping\":", root->kind == WHY_ROOT_MEMORY ? root->name : NULL);
	json_string(",\"variable\":", s ? s->function : NULL);
	json_string(",\"module\":", s ? s->module : NULL);
	if (s)
		json_address(",\"offset\":\"", s->offset);
	else
		out_str(out, ",\"offset\":null");
	out_str(out, "}");
}

static void json_step(const struct why_step *s, bool is_first)
{
	out_str(out, is_first ? "\n{" : ",\n{");
	why_say(out, "\"at\":", s->at, "");
	why_say(out, ",\"inside\":", s->inside, ",");
	json_block(s->block, &s->record);
	out_str(out, "}");
}

static void json_path(void)
{
	uint64_t nhead = why->length < WHY_SHOWN ? why->length : WHY_SHOWN;
	uint64_t ntail = why->length - nhead < WHY_SHOWN ? why->length - nhead : WHY_SHOWN;

	json_root();
	why_say(out, ",\n\"length\":", why->length, "");
	why_say(out, ",\"left_out\":", why->length - nhead - ntail, ",\"path\":[");
	for (uint64_t i = 0; i < nhead; i++)
		json_step(&why->head[i], i == 0);
	for (uint64_t i = WHY_SHOWN - ntail; i < WHY_SHOWN; i++)
		json_step(&why->tail[i], false);
	out_str(out, "]");
}

static void json_leaked(void)
{
	out_str(out, ",\n\"block\":{");
	json_block(why->block, &why->record);
	why_say(out, "},\"nholders\":", why->nholders, ",\"holders\":[");
	for (uint64_t i = 0; i < why->nholders && i < WHY_HOLDERS; i++)
		json_address(i ? ",\"" : "\"", why->holder[i]);
	out_str(out, "]");
}

void why_json(struct out *o, const struct why *w, const struct leaks_request *r)
{
	static const char *const verdicts[] = {
		[WHY_REACHABLE] = "reachable", [WHY_LEAKED] = "leaked", [WHY_FREE] = "free",
		[WHY_OUTSIDE] = "outside", [WHY_NO_BLOCK] = "no block", [WHY_UNCLEAR] = "not understood",
	};
	enum why_verdict verdict;

	out = o;
	why = w;
	verdict = why->unclear ? WHY_UNCLEAR : why->verdict;

	json_string("{\"tool\":\"spangc\",\"version\":", r->version);
	why_say(out, ",\"pid\":", r->pid, "");
	json_string(",\"why\":", r->argument);
	json_string(",\"verdict\":", verdicts[verdict]);
	json_string(",\"reason\":", why->unclear);
	why_say(out, ",\"blocks\":", why->nblocks, "");
	why_say(out, ",\"bytes\":", why->nbytes, "");
	why_say(out, ",\"reachable\":", why->nreachable, "");
	if (verdict == WHY_REACHABLE)
		json_path();
	else if (verdict == WHY_LEAKED)
		json_leaked();
	out_str(out, "}\n");
}

