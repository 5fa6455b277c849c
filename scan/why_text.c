/* why_text.c: why.h's answer for people. Reached from why_report.c. */
#include "scan/why.h"

#include "scan/report_formats.h"
#include "scan/stacks.h"
#include "scan/symbols.h"

#include <string.h>

/* Of one answer at a time. */
static struct out *out;
static const struct why *why;

/* Who asks for memory for others says nothing about what it is for. */
static bool is_helper(const char *function)
{
	static const char *const names[] = {
		"malloc", "calloc", "realloc", "memalign", "operator new", "strdup", "strndup", "xmalloc",
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (!strncmp(function, names[i], strlen(names[i])))
			return true;
	}
	return false;
}

/* The innermost frame that says something; frame 0 is what was called of us. */
static const struct symbol *origin(uint32_t stack)
{
	const uintptr_t *pcs;
	const struct symbol *found = NULL;
	unsigned npcs = stacks_get(stack, &pcs);

	for (unsigned i = 1; i < npcs; i++) {
		const struct symbol *frames;
		unsigned n = symbols_get(pcs[i], &frames);

		for (unsigned f = 0; f < n; f++) {
			if (frames[f].function && !is_helper(frames[f].function))
				return &frames[f];
			found = found ? found : &frames[f];
		}
	}
	return found;
}

static void out_origin(const struct record *r)
{
	const struct symbol *s = origin(r->stack);

	if (!r->stack)
		return;
	out_str(out, " allocated");
	if (s && s->function) {
		out_str(out, " in ");
		out_str(out, s->function);
	}
	if (s && s->file) {
		out_str(out, " ");
		out_str(out, s->file);
		if (s->line)
			why_say(out, ":", s->line, "");
	} else if (s && s->module) {
		out_str(out, " (");
		out_str(out, why_last_part(s->module));
		why_say_hex(out, "+", s->offset, ")");
	}
	why_say(out, ", stack #", r->stack, "");
}

static void out_block(uintptr_t p, const struct record *r)
{
	why_say_hex(out, "", p, "");
	why_say(out, ", ", r->nbytes, " byte(s),");
	out_origin(r);
	out_str(out, "\n");
}

static void out_thread(void)
{
	const struct why_root *root = &why->root;

	out_str(out, "thread ");
	if (root->thread[0]) {
		out_json(out, root->thread);
		out_str(out, " ");
	}
	why_say(out, "(tid ", (uint64_t)root->tid, ")");
}

static void out_memory(void)
{
	const struct why_root *root = &why->root;
	const struct symbol *s = why_variable(why);

	if (s) {
		out_str(out, s->function ? s->function : "a variable");
		out_str(out, " of ");
		out_str(out, why_last_part(s->module));
		out_str(out, " (");
		out_str(out, s->module);
		why_say_hex(out, "+", s->offset, ")");
		return;
	}
	out_str(out, root->at ? "mapping " : "shared memory");
	out_str(out, root->name);
	if (root->to) {
		why_say_hex(out, " ", root->from, "");
		why_say_hex(out, "-", root->to, "");
		why_say_hex(out, " at +", root->at - root->from, "");
	}
}

static void out_tls(void)
{
	const struct symbol *s = why_variable(why);

	if (s && s->function) {
		out_str(out, s->function);
		out_str(out, ", ");
	}
	out_str(out, "TLS of ");
	out_thread();
}

static void out_root(void)
{
	switch (why->root.kind) {
	case WHY_ROOT_UNKNOWN: out_str(out, "one of very many roots"); return;
	case WHY_ROOT_MEMORY: out_memory(); break;
	case WHY_ROOT_TLS: out_tls(); break;
	case WHY_ROOT_STACK: out_str(out, "stack of "); out_thread(); break;
	case WHY_ROOT_REGISTERS: out_str(out, "a register of "); out_thread(); return;
	case WHY_ROOT_ALTSTACK: out_str(out, "alternate signal stack of "); out_thread(); break;
	case WHY_ROOT_ARGUMENT: out_str(out, "the argument of a thread that begins"); return;
	case WHY_ROOT_EPOLL: out_str(out, "the data of an epoll instance"); return;
	case WHY_ROOT_TIMER: out_str(out, "the value of a timer"); return;
	case WHY_ROOT_ADDED: out_str(out, "a root that the program added"); break;
	case WHY_ROOT_IGNORED: out_str(out, "spangc_ignore()"); return;
	}
	if (why->root.at)
		why_say_hex(out, ", at ", why->root.at, "");
}

/* The first one stands in the root. */
static void out_step(const struct why_step *s, bool is_first)
{
	if (is_first && why->root.kind == WHY_ROOT_IGNORED)
		out_str(out, "  was called for ");
	else if (is_first)
		out_str(out, "  is a pointer to ");
	else
		why_say(out, "  at +", s->at, " is a pointer to ");
	if (s->inside)
		why_say(out, "byte ", s->inside, " of ");
	out_block(s->block, &s->record);
}

static void text_path(void)
{
	uint64_t nhead = why->length < WHY_SHOWN ? why->length : WHY_SHOWN;
	uint64_t ntail = why->length - nhead < WHY_SHOWN ? why->length - nhead : WHY_SHOWN;

	out_root();
	out_str(out, "\n");
	for (uint64_t i = 0; i < nhead; i++)
		out_step(&why->head[i], i == 0);
	if (nhead + ntail < why->length)
		why_say(out, "  ... ", why->length - nhead - ntail,
		        " more blocks, each with a pointer to the next ...\n");
	for (uint64_t i = WHY_SHOWN - ntail; i < WHY_SHOWN; i++)
		out_step(&why->tail[i], false);
}

static void text_leaked(void)
{
	out_str(out, "nothing leads to it: it is leaked\n");
	out_block(why->block, &why->record);
	if (why->nholders)
		why_say(out, "leaked blocks with a pointer to it: ", why->nholders, "");
	for (uint64_t i = 0; i < why->nholders && i < WHY_HOLDERS; i++)
		why_say_hex(out, i ? ", " : " (", why->holder[i], "");
	if (why->nholders)
		out_str(out, why->nholders > WHY_HOLDERS ? ", ...)\n" : ")\n");
}

void why_text(struct out *o, const struct why *w, const struct leaks_request *r)
{
	out = o;
	why = w;
	why_say(out, "==", r->pid, "==spangc: what leads to ");
	out_str(out, why->unclear && !r->argument ? "" : r->argument);
	out_str(out, "\n");
	if (!why->is_address && !why->unclear && why->nblocks) {
		why_say(out, "blocks with such a stack: ", why->nblocks, "");
		why_say(out, ", ", why->nbytes, " byte(s)");
		why_say(out, "; reachable: ", why->nreachable, "; this is the oldest of ");
		out_str(out, why->nreachable ? "these\n" : "them\n");
	}
	switch (why->unclear ? WHY_UNCLEAR : why->verdict) {
	case WHY_REACHABLE: text_path(); break;
	case WHY_LEAKED: text_leaked(); break;
	case WHY_FREE: out_str(out, "no block: free memory of the heap\n"); break;
	case WHY_OUTSIDE: out_str(out, "no block: not an address of the heap\n"); break;
	case WHY_NO_BLOCK: out_str(out, "no block: none has such a stack\n"); break;
	case WHY_UNCLEAR:
		out_str(out, "not understood: ");
		out_str(out, why->unclear);
		out_str(out, "\n");
	}
}

