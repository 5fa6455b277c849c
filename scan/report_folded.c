/* report_folded.c: one line a stack, the outermost frame first, then its bytes: for flame graphs. Reached
 * from leaks_report.c. */
#include "scan/report_formats.h"

#include "scan/stacks.h"

#include <string.h>

static void out_name(struct out *o, const struct symbol *s)
{
	const char *name = s->function ? s->function : s->module ? s->module : "?";
	const char *slash = s->function ? NULL : strrchr(name, '/');

	for (name = slash ? slash + 1 : name; *name; name++)
		out_bytes(o, *name == ';' || *name == '\n' ? ":" : name, 1);
	if (!s->function) {
		out_str(o, "+");
		out_hex(o, s->module ? s->offset : s->pc);
	}
}

static void out_entry(struct out *o, const struct leaks_entry *e)
{
	const uintptr_t *pcs;
	unsigned npcs = stacks_get(e->stack, &pcs);

	if (!npcs)
		out_str(o, "?");
	for (unsigned i = npcs; i--;) {
		const struct symbol *frames;

		for (unsigned f = symbols_get(pcs[i], &frames); f--;) {
			out_name(o, &frames[f]);
			out_str(o, i || f ? ";" : "");
		}
	}
	out_str(o, " ");
	out_dec(o, e->sum.nbytes);
	out_str(o, "\n");
}

void report_folded(struct out *o, const struct report *r)
{
	for (uint32_t i = 0; i < r->nentries; i++)
		out_entry(o, &r->found->entries.list[i]);
}
