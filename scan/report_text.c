/* report_text.c: reports for people, in LeakSanitizer's form where it has one. Reached from
 * leaks_report.c. What is ours stands between a stack and the empty line behind it. */
#include "scan/report_formats.h"

#include "scan/sample.h"
#include "scan/stacks.h"
#include "scan/suppress.h"
#include "scan/thread_names.h"

#define AGE_MIN 10                              /* tenths of a second: younger ones go without */

static void out_place(struct out *o, const struct symbol *s)
{
	if (s->file) {
		out_str(o, " ");
		out_str(o, s->file);
		out_str(o, s->line ? ":" : "");
		if (s->line)
			out_dec(o, s->line);
	} else if (s->module) {
		out_str(o, " (");
		out_str(o, s->module);
		out_str(o, "+");
		out_hex(o, s->offset);
		out_str(o, ")");
	}
}

static void out_frame(struct out *o, const struct symbol *s, unsigned number)
{
	out_str(o, "    #");
	out_dec(o, number);
	out_str(o, " ");
	out_hex(o, s->pc);
	if (s->function) {
		out_str(o, " in ");
		out_str(o, s->function);
	}
	if (number > 0 || !s->function)
		out_place(o, s);
	out_str(o, "\n");
}

static void out_stack(struct out *o, uint32_t stack)
{
	const uintptr_t *pcs;

	if (!stacks_get(stack, &pcs))
		out_str(o, "    <empty stack>\n");
	report_frames(o, stack, out_frame);
}

static void out_sum(struct out *o, const char *before, const struct leaks_sum *sum,
                    const char *between, const char *after)
{
	out_str(o, before);
	out_dec(o, sum->nbytes);
	out_str(o, between);
	out_dec(o, sum->nblocks);
	out_str(o, after);
}

static void out_us(struct out *o, const char *before, uint64_t ns)
{
	out_str(o, before);
	out_dec(o, ns / 1000);
}

/* `by thread "worker" and 2 others`; of a program with one thread nothing is worth saying. */
static void out_threads(struct out *o, const struct report *r, const struct leaks_entry *e)
{
	char name[THREAD_NAME_BYTES];
	unsigned n = 0;

	while (n < ENTRY_THREADS && e->thread[n])
		n++;
	thread_names_get(e->thread[0], r->request->pid, name);
	out_str(o, " by thread ");
	if (name[0])
		out_json(o, name);
	else
		out_str(o, "(unknown)");
	if (n > 1) {
		out_str(o, e->has_more_threads ? " and at least " : " and ");
		out_dec(o, e->has_more_threads ? n : n - 1);
		out_str(o, n > 2 || e->has_more_threads ? " others" : " other");
	}
}

static void out_ages(struct out *o, const struct report *r, const struct leaks_entry *e)
{
	out_str(o, ", ");
	if (e->oldest != e->newest) {
		report_tenths(o, report_age(r, e->oldest));
		out_str(o, " s to ");
	}
	report_tenths(o, report_age(r, e->newest));
	out_str(o, " s ago");
}

static void out_origin(struct out *o, const struct report *r, const struct leaks_entry *e)
{
	bool has_threads = e->thread[0] && thread_names_count() > 1;
	bool has_ages = e->thread[0] && report_age(r, e->oldest) >= AGE_MIN;

	if (!has_threads && !has_ages)
		return;
	out_str(o, "    allocated");
	if (has_threads)
		out_threads(o, r, e);
	if (has_ages)
		out_ages(o, r, e);
	out_str(o, "\n");
}

static void out_head(struct out *o, const struct report *r, const char *what)
{
	out_str(o, "==");
	out_dec(o, r->request->pid);
	out_str(o, what);
}

/* How long the program stood still, if it goes on. */
static void out_pause(struct out *o, const struct report *r)
{
	const struct snapshot_pause *pause = &r->found->pause;

	if (!r->request->goes_on)
		return;
	out_us(o, "Paused: ", pause->all_ns);
	out_us(o, " us (stop ", pause->stop_ns);
	if (pause->copy_ns)
		out_us(o, " us, copy ", pause->copy_ns);
	out_str(o, pause->copy_ns ? " us), " : " us; no copy could be made), ");
	out_dec(o, r->found->nthreads);
	out_str(o, r->found->nthreads == 1 ? " thread.\n\n" : " threads.\n\n");
}

static void out_samples(struct out *o)
{
	if (!sample_rate())
		return;
	out_str(o, "Stacks are samples, one in ");
	out_dec(o, sample_rate());
	out_str(o, " bytes allocated: figures of stacks are estimates.\n\n");
}

/* What only these hold is called leaked. */
static void out_missed(struct out *o, const struct report *r)
{
	unsigned n = r->found->nmissed;

	if (!n)
		return;
	out_dec(o, n);
	out_str(o, n == 1 ? " thread did not answer and ran on: its registers were not seen.\n\n"
	                  : " threads did not answer and ran on: their registers were not seen.\n\n");
}

/* --- leaks --- */

static void out_suppression(const char *pattern, const struct leaks_sum *sum, void *arg)
{
	struct out *o = arg;

	out_dec_width(o, sum->nblocks, 7);
	out_dec_width(o, sum->nbytes, 11);
	out_str(o, " ");
	out_str(o, pattern);
	out_str(o, "\n");
}

static void out_suppressed(struct out *o, const struct report *r)
{
	static const char rule[] = "-----------------------------------------------------\n";

	if (!r->found->suppressed.nblocks)
		return;
	out_str(o, rule);
	out_str(o, "Suppressions used:\n  count      bytes template\n");
	suppress_visit(out_suppression, o);
	out_str(o, rule);
	out_str(o, "\n");
}

static void out_hidden(struct out *o, const struct report *r)
{
	for (uint32_t i = 0; i < r->nhidden; i++) {
		out_sum(o, "", &r->hidden[i].sum, " byte(s) in ",
		        " object(s) reported as leaked were freed by the program later: a pointer to "
		        "them is hidden. Allocated from:\n");
		out_stack(o, r->hidden[i].stack);
		out_str(o, "\n");
	}
}

static void out_leaks(struct out *o, const struct report *r)
{
	const struct leaks *l = r->found;
	struct leaks_sum all = { l->direct.nbytes + l->indirect.nbytes,
		                 l->direct.nblocks + l->indirect.nblocks };

	out_head(o, r, report_has_leaks(r) ? "==ERROR: spangc: detected memory leaks\n\n"
	                                   : "==NOTE: spangc: no memory leaks\n\n");
	for (uint32_t i = 0; i < r->nentries; i++) {
		const struct leaks_entry *e = &l->entries.list[i];

		out_sum(o, e->is_direct ? "Direct leak of " : "Indirect leak of ", &e->sum,
		        " byte(s) in ", " object(s) allocated from:\n");
		out_stack(o, e->stack);
		out_origin(o, r, e);
		out_str(o, "\n");
	}
	out_samples(o);
	out_hidden(o, r);
	out_suppressed(o, r);
	out_missed(o, r);
	out_pause(o, r);
	out_sum(o, "SUMMARY: spangc: ", &all, " byte(s) leaked in ", " allocation(s).\n");
}

/* --- what is reachable; what grew --- */

static void out_profile(struct out *o, const struct report *r)
{
	out_head(o, r, "==PROFILE: spangc: reachable memory\n\n");
	for (uint32_t i = 0; i < r->nentries; i++) {
		const struct leaks_entry *e = &r->found->entries.list[i];

		out_sum(o, "Reachable: ", &e->sum, " byte(s) in ", " object(s) allocated from:\n");
		out_stack(o, e->stack);
		out_origin(o, r, e);
		out_str(o, "\n");
	}
	out_samples(o);
	out_missed(o, r);
	out_pause(o, r);
	out_sum(o, "SUMMARY: spangc: ", &r->found->reachable, " byte(s) reachable in ",
	        " allocation(s).\n");
}

/* The number of blocks may have fallen: fewer and larger ones. */
static void out_signed(struct out *o, uint64_t n)
{
	out_str(o, (int64_t)n < 0 ? "-" : "");
	out_dec(o, (int64_t)n < 0 ? -n : n);
}

static void out_growth(struct out *o, const struct report *r, const struct leaks_entry *e)
{
	out_str(o, "Growth of ");
	out_dec(o, e->sum.nbytes);
	out_str(o, " byte(s) in ");
	out_signed(o, e->sum.nblocks);
	out_str(o, " object(s) allocated from:\n");
	out_stack(o, e->stack);
	out_sum(o, "    now ", &e->live, " byte(s) in ", " object(s)\n");
	out_origin(o, r, e);
	out_str(o, "\n");
}

static void out_diff(struct out *o, const struct report *r)
{
	const struct growth *g = r->growth;

	out_head(o, r, "==DIFF: spangc: growth since the ");
	out_str(o, g->is_first ? "start, " : "diff before, ");
	report_tenths(o, g->since_ms / 100);
	out_str(o, " s ago\n\n");
	for (uint32_t i = 0; i < r->nentries; i++)
		out_growth(o, r, &r->found->entries.list[i]);
	if (g->nshrunk) {
		out_str(o, "Shrunk: ");
		out_dec(o, g->nshrunk);
		out_str(o, " stack(s), by ");
		out_dec(o, g->shrunk.nbytes);
		out_str(o, " byte(s) in ");
		out_signed(o, g->shrunk.nblocks);
		out_str(o, " object(s).\n\n");
	}
	out_samples(o);
	out_pause(o, r);
	out_str(o, "SUMMARY: spangc: ");
	out_dec(o, g->grown.nbytes);
	out_str(o, " byte(s) more in ");
	out_dec(o, r->nentries);
	out_sum(o, " stack(s); allocated: ", &g->live, " byte(s) in ", " allocation(s).\n");
}

void report_text(struct out *o, const struct report *r)
{
	switch (r->request->kind) {
	case LEAKS_PROFILE: out_profile(o, r); break;
	case LEAKS_DIFF: out_diff(o, r); break;
	default: out_leaks(o, r); break;
	}
}
