/* report_json.c: reports for programs: one object each. Reached from leaks_report.c. */
#include "scan/report_formats.h"

#include "core/knobs.h"
#include "scan/suppress.h"
#include "scan/thread_names.h"

#include <sys/auxv.h>

static void out_number(struct out *o, const char *name, uint64_t n)
{
	out_str(o, name);
	out_dec(o, n);
}

static void out_signed(struct out *o, const char *name, uint64_t n)
{
	out_str(o, name);
	out_str(o, (int64_t)n < 0 ? "-" : "");
	out_dec(o, (int64_t)n < 0 ? -n : n);
}

static void out_sum(struct out *o, const char *bytes, const char *blocks,
                    const struct leaks_sum *sum)
{
	out_number(o, bytes, sum->nbytes);
	out_number(o, blocks, sum->nblocks);
}

static void out_string(struct out *o, const char *name, const char *s)
{
	out_str(o, name);
	out_json(o, s);
}

static void out_address(struct out *o, const char *name, uint64_t n)
{
	out_str(o, name);
	out_str(o, "\"");
	out_hex(o, n);
	out_str(o, "\"");
}

static void out_frame(struct out *o, const struct symbol *s, unsigned number)
{
	out_address(o, number ? ",{\"pc\":" : "{\"pc\":", s->pc);
	out_string(o, ",\"function\":", s->function);
	out_string(o, ",\"file\":", s->file);
	if (s->line)
		out_number(o, ",\"line\":", s->line);
	else
		out_str(o, ",\"line\":null");
	out_string(o, ",\"module\":", s->module);
	if (s->module)
		out_address(o, ",\"offset\":", s->offset);
	else
		out_str(o, ",\"offset\":null");
	out_str(o, "}");
}

static void out_stack(struct out *o, uint32_t stack)
{
	out_str(o, ",\"stack\":[");
	report_frames(o, stack, out_frame);
	out_str(o, "]}");
}

static void out_threads(struct out *o, const struct report *r, const struct leaks_entry *e)
{
	out_str(o, ",\"threads\":[");
	for (unsigned i = 0; i < ENTRY_THREADS && e->thread[i]; i++) {
		char name[THREAD_NAME_BYTES];

		thread_names_get(e->thread[i], r->request->pid, name);
		out_number(o, i ? ",{\"number\":" : "{\"number\":", e->thread[i]);
		out_string(o, ",\"name\":", name[0] ? name : NULL);
		out_str(o, "}");
	}
	out_str(o, e->has_more_threads ? "],\"more_threads\":true" : "],\"more_threads\":false");
}

static void out_ages(struct out *o, const struct report *r, const struct leaks_entry *e)
{
	out_str(o, ",\"age_s\":{\"oldest\":");
	report_tenths(o, report_age(r, e->oldest));
	out_str(o, ",\"newest\":");
	report_tenths(o, report_age(r, e->newest));
	out_str(o, "}");
}

static void out_entry(struct out *o, const struct report *r, const struct leaks_entry *e)
{
	switch (r->request->kind) {
	case LEAKS_PROFILE:
		out_sum(o, "{\"bytes\":", ",\"blocks\":", &e->sum);
		break;
	case LEAKS_DIFF:
		out_number(o, "{\"bytes\":", e->sum.nbytes);
		out_signed(o, ",\"blocks\":", e->sum.nblocks);
		out_sum(o, ",\"live_bytes\":", ",\"live_blocks\":", &e->live);
		break;
	default:
		out_string(o, "{\"kind\":", e->is_direct ? "direct" : "indirect");
		out_sum(o, ",\"bytes\":", ",\"blocks\":", &e->sum);
		out_number(o, ",\"indirect_bytes\":", e->indirect_bytes);
		break;
	}
	out_threads(o, r, e);
	out_ages(o, r, e);
	out_stack(o, e->stack);
}

static void out_entries(struct out *o, const struct report *r, const char *name)
{
	out_str(o, name);
	for (uint32_t i = 0; i < r->nentries; i++) {
		out_str(o, i ? ",\n" : "\n");
		out_entry(o, r, &r->found->entries.list[i]);
	}
	out_str(o, "]");
}

static void out_seconds(struct out *o, const char *name, uint64_t ms)
{
	out_number(o, name, ms / 1000);
	out_number(o, ms % 1000 < 10 ? ".00" : ms % 1000 < 100 ? ".0" : ".", ms % 1000);
}

static void out_head(struct out *o, const struct report *r)
{
	static const char *const kinds[] = { [LEAKS_REPORT] = "leaks", [LEAKS_PROFILE] = "profile",
		                             [LEAKS_DIFF] = "diff" };
	const struct leaks_request *q = r->request;

	out_string(o, "{\"tool\":\"spangc\",\"version\":", q->version);
	out_number(o, ",\"pid\":", q->pid);
	out_string(o, ",\"program\":", (const char *)getauxval(AT_EXECFN));
	out_string(o, ",\"report\":", kinds[q->kind]);
	out_string(o, ",\"when\":", q->when);
	out_seconds(o, ",\"seconds\":", q->ms);
	out_number(o, ",\"pause_us\":", r->found->pause.all_ns / 1000);
	out_number(o, ",\"stop_us\":", r->found->pause.stop_ns / 1000);
	out_number(o, ",\"copy_us\":", r->found->pause.copy_ns / 1000);
	out_number(o, ",\"threads\":", r->found->nthreads);
	out_number(o, ",\"missed_threads\":", r->found->nmissed);
}

struct list {
	struct out *o;
	bool has_one;
};

static void out_suppression(const char *pattern, const struct leaks_sum *sum, void *arg)
{
	struct list *list = arg;

	out_string(list->o, list->has_one ? ",{\"pattern\":" : "{\"pattern\":", pattern);
	out_sum(list->o, ",\"bytes\":", ",\"blocks\":", sum);
	out_str(list->o, "}");
	list->has_one = true;
}

static void out_suppressions(struct out *o)
{
	struct list list = { .o = o };

	out_str(o, ",\n\"suppressions\":[");
	suppress_visit(out_suppression, &list);
	out_str(o, "]");
}

static void out_hidden(struct out *o, const struct report *r)
{
	out_str(o, ",\n\"hidden\":[");
	for (uint32_t i = 0; i < r->nhidden; i++) {
		out_sum(o, i ? ",\n{\"bytes\":" : "\n{\"bytes\":", ",\"blocks\":",
		        &r->hidden[i].sum);
		out_stack(o, r->hidden[i].stack);
	}
	out_str(o, "]");
}

static void out_leaks(struct out *o, const struct report *r)
{
	const struct leaks *l = r->found;

	out_str(o, ",\n\"summary\":{");
	out_sum(o, "\"direct_bytes\":", ",\"direct_blocks\":", &l->direct);
	out_sum(o, ",\"indirect_bytes\":", ",\"indirect_blocks\":", &l->indirect);
	out_sum(o, ",\"suppressed_bytes\":", ",\"suppressed_blocks\":", &l->suppressed);
	out_sum(o, ",\"reachable_bytes\":", ",\"reachable_blocks\":", &l->reachable);
	out_str(o, "}");
	out_suppressions(o);
	out_hidden(o, r);
	out_entries(o, r, ",\n\"leaks\":[");
}

static void out_diff(struct out *o, const struct report *r)
{
	const struct growth *g = r->growth;

	out_string(o, ",\n\"since\":", g->is_first ? "start" : "diff");
	out_seconds(o, ",\"since_s\":", g->since_ms);
	out_str(o, ",\n\"summary\":{");
	out_number(o, "\"grown_bytes\":", g->grown.nbytes);
	out_signed(o, ",\"grown_blocks\":", g->grown.nblocks);
	out_number(o, ",\"shrunk_bytes\":", g->shrunk.nbytes);
	out_signed(o, ",\"shrunk_blocks\":", g->shrunk.nblocks);
	out_number(o, ",\"shrunk_stacks\":", g->nshrunk);
	out_sum(o, ",\"live_bytes\":", ",\"live_blocks\":", &g->live);
	out_str(o, "}");
	out_entries(o, r, ",\n\"grown\":[");
}

static void out_profile(struct out *o, const struct report *r)
{
	out_str(o, ",\n\"summary\":{");
	out_sum(o, "\"reachable_bytes\":", ",\"reachable_blocks\":", &r->found->reachable);
	out_str(o, "}");
	out_entries(o, r, ",\n\"reachable\":[");
}

void report_json(struct out *o, const struct report *r)
{
	out_head(o, r);
	switch (r->request->kind) {
	case LEAKS_PROFILE: out_profile(o, r); break;
	case LEAKS_DIFF: out_diff(o, r); break;
	default: out_leaks(o, r); break;
	}
	out_str(o, "}\n");
}
