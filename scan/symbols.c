/* symbols.c: addresses of code, in words.
 *
 * Reached from leaks_report.c and suppress.c, in the process or in a copy of it: no lock, no malloc,
 * nothing of the loader. Depends on modules.h, dynsym.h, helper.h and scratch.h. One lookup at a time.
 *
 * A return address stands behind its call, which may be the last instruction of a function or a
 * line: what is looked up is the byte before it.
 */
#include "scan/symbols.h"

#include "scan/dynsym.h"
#include "scan/helper.h"
#include "scan/modules.h"
#include "scan/out.h"
#include "scan/scratch.h"
#include "scan/sort.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WANTED_SHIFT 17
#define WANTED (1u << WANTED_SHIFT)
#define WANTED_MAX (WANTED / 2)
#define FRAMES_MAX (1u << 18)
#define NAMES_BYTES MIB(4)
#define ANSWERS_BYTES MIB(32)

struct wanted {
	uintptr_t word;                         /* of modules.h; 0: this place is free */
	uint32_t  nframes;
	bool      is_entry;
	const char *kind;                       /* of a variable, for the helper; NULL: code */
	const struct module *module;            /* NULL: unknown */
	struct symbol own;                      /* what the process knows by itself */
	const struct symbol *frames;
};

static struct scratch wanted_memory, list_memory, frame_memory, name_memory, answer_memory;

static struct {
	struct wanted *table;                   /* by hash of its word */
	uint32_t *list;                         /* places in use; after note_own() by address */
	uint32_t n;
	struct symbol *frames;
	uint32_t nframes;
	char *names;
	size_t names_len;
} symbols;

bool symbols_start(void)
{
	memset(&symbols, 0, sizeof symbols);
	symbols.table = scratch_take(&wanted_memory, WANTED * sizeof *symbols.table);
	symbols.list = scratch_take(&list_memory, WANTED_MAX * sizeof *symbols.list);
	symbols.frames = scratch_take(&frame_memory, FRAMES_MAX * sizeof *symbols.frames);
	symbols.names = scratch_take(&name_memory, NAMES_BYTES);
	return symbols.table && symbols.list && symbols.frames && symbols.names;
}

void symbols_drop(void)
{
	scratch_drop(&wanted_memory);
	scratch_drop(&list_memory);
	scratch_drop(&frame_memory);
	scratch_drop(&name_memory);
	scratch_drop(&answer_memory);
}

/* Its place, or the free one where it would be. */
static struct wanted *place_of(uintptr_t word)
{
	uint32_t i = (uint32_t)(word * UINT64_C(0x9e3779b97f4a7c15) >> (64 - WANTED_SHIFT));

	while (symbols.table[i].word && symbols.table[i].word != word)
		i = (i + 1) % WANTED;
	return &symbols.table[i];
}

void symbols_want(uintptr_t word, bool is_entry)
{
	struct wanted *w = word ? place_of(word) : NULL;

	if (!w || w->word || symbols.n == WANTED_MAX)
		return;
	w->word = word;
	w->is_entry = is_entry;
	w->own.pc = modules_pc(word) - !is_entry;
	w->frames = &w->own;
	w->nframes = 1;
	symbols.list[symbols.n++] = (uint32_t)(w - symbols.table);
}

void symbols_want_variable(uintptr_t at)
{
	symbols_want(at, true);
	if (place_of(at)->word)
		place_of(at)->kind = "data";
}

void symbols_want_tls(uintptr_t key, uintptr_t module, uintptr_t offset)
{
	symbols_want(key, true);
	if (!place_of(key)->word)
		return;
	place_of(key)->kind = "tls";
	place_of(key)->own.pc = module;
	place_of(key)->own.offset = offset;
}

/* A copy that lasts; NULL: no room. */
static const char *keep(const char *s)
{
	size_t nbytes = strlen(s) + 1;
	char *to = symbols.names + symbols.names_len;

	if (nbytes > NAMES_BYTES - symbols.names_len)
		return NULL;
	memcpy(to, s, nbytes);
	symbols.names_len += nbytes;
	return to;
}

/* --- what the process knows --- */

static struct wanted *nth(uint32_t i)
{
	return &symbols.table[symbols.list[i]];
}

static void note_module(struct wanted *w)
{
	const struct module *m = modules_find(w->kind ? w->own.pc : w->word);

	w->module = m;
	if (!m)
		return;
	w->own.module = m->name[0] ? m->name : NULL;
	if (!w->kind || *w->kind != 't')
		w->own.offset = w->own.pc - m->bias;
}

/* By address, and the modules that were there one after the other. */
static bool is_before(const void *left, const void *right)
{
	const struct wanted *a = &symbols.table[*(const uint32_t *)left];
	const struct wanted *b = &symbols.table[*(const uint32_t *)right];

	return a->own.pc != b->own.pc ? a->own.pc < b->own.pc : a->word < b->word;
}

/* Those of one module, in symbols.list. */
struct run {
	uint32_t from, to;
};

/* The shortest of several names of one function: libc has __libc_malloc for malloc. */
static bool is_better(const char *name, const char *old)
{
	size_t n = strlen(name), nold = old ? strlen(old) : SIZE_MAX;

	return n != nold ? n < nold : strcmp(name, old) < 0;
}

static void see_function(uintptr_t from, uintptr_t to, const char *name, void *arg)
{
	const struct run *run = arg;
	uint32_t low = run->from, high = run->to;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (nth(middle)->own.pc < from)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < run->to && nth(low)->own.pc < to; low++) {
		if (is_better(name, nth(low)->own.function))
			nth(low)->own.function = name;
	}
}

/* Of a module that is still there; and copies that last. */
static void note_functions(struct run run)
{
	const struct module *m = nth(run.from)->module;

	/* relaxed: what goes in this moment can't be read, that is all. */
	if (!m || !atomic_load_explicit(&m->is_loaded, memory_order_relaxed))
		return;
	dynsym_visit(m, see_function, &run);
	for (uint32_t i = run.from; i < run.to; i++) {
		const char *name = nth(i)->own.function;

		nth(i)->own.function = name ? keep(name) : NULL;
	}
}

static void note_own(void)
{
	for (uint32_t i = 0; i < symbols.n; i++)
		note_module(nth(i));
	sort(symbols.list, symbols.n, sizeof *symbols.list, is_before);
	for (uint32_t i = 0, to; i < symbols.n; i = to) {
		for (to = i + 1; to < symbols.n && nth(to)->module == nth(i)->module; to++)
			;
		note_functions((struct run){ i, to });
	}
	dynsym_drop();
}

/* --- what the helper knows --- */

/* "MODULE OFFSET", "MODULE OFFSET BUILD-ID", and " data" or " tls" behind: of what lies in a module
 * whose name has no newline. */
static bool is_asked(const struct wanted *w)
{
	return w->own.module && w->own.module[0] == '/' && (w->kind || !w->is_entry)
	       && !strchr(w->own.module, '\n');
}

static void ask(struct out *o)
{
	static const char digits[] = "0123456789abcdef";

	for (uint32_t i = 0; i < symbols.n; i++) {
		const struct wanted *w = nth(i);

		if (!is_asked(w))
			continue;
		out_str(o, w->own.module);
		out_str(o, " ");
		out_hex(o, w->own.offset);
		out_str(o, w->module->build_id_nbytes ? " " : "");
		for (unsigned b = 0; b < w->module->build_id_nbytes; b++) {
			out_bytes(o, &digits[w->module->build_id[b] >> 4], 1);
			out_bytes(o, &digits[w->module->build_id[b] & 15], 1);
		}
		out_str(o, w->kind ? " " : "");
		out_str(o, w->kind ? w->kind : "");
		out_str(o, "\n");
	}
	out_flush(o);
}

/* The text up to `end`, which is overwritten by its end; NULL if it is empty. *at moves behind. */
static const char *field(char **at, char end)
{
	char *from = *at, *to = strchr(from, end);

	if (!to)
		to = from + strlen(from);
	*at = to + (*to != '\0');
	*to = '\0';
	return *from ? from : NULL;
}

static unsigned number(const char *digits)
{
	unsigned n = 0;

	for (; digits && *digits >= '0' && *digits <= '9'; digits++)
		n = n * 10 + (unsigned)(*digits - '0');
	return n;
}

/* One line of an answer is one frame. False: the empty line, or the end. */
static bool take_line(char **at, const struct wanted *w)
{
	struct symbol *s = &symbols.frames[symbols.nframes];

	if (!**at || **at == '\n' || symbols.nframes == FRAMES_MAX) {
		*at += **at == '\n';
		return false;
	}

	char *line = *at;

	field(at, '\n');
	field(&line, '\t');
	*s = (struct symbol){ .function = field(&line, '\t'), .file = field(&line, '\t'),
		              .line = number(line), .module = w->own.module,
		              .offset = w->own.offset, .pc = w->own.pc };
	symbols.nframes++;
	return true;
}

static void take_answers(char *answers)
{
	for (uint32_t i = 0; i < symbols.n && *answers; i++) {
		struct wanted *w = nth(i);
		struct symbol *first = &symbols.frames[symbols.nframes];
		unsigned n = 0;

		if (!is_asked(w))
			continue;
		while (take_line(&answers, w))
			n++;
		if (!n)
			continue;
		if (!first[n - 1].function)
			first[n - 1].function = w->own.function;
		w->frames = first;
		w->nframes = n;
	}
}

static const char *reason(int status)
{
	switch (status) {
	case 0: return NULL;
	case 3: return "neither eu-addr2line (Debian: elfutils) nor addr2line is installed";
	case 126:
	case 127: return "python3 can't be run";
	default: return "symbols.py failed";
	}
}

const char *symbols_run(const char *path, char **env)
{
	static struct out questions;
	struct helper_answers answers = { .max = ANSWERS_BYTES - 1 };   /* what follows is zero */
	int status = -1;

	note_own();
	if (!symbols.n)
		return NULL;
	if (!path)
		return "scripts/spangclib/symbols.py is not where the library is";
	answers.text = scratch_take(&answer_memory, ANSWERS_BYTES);
	questions = (struct out){ .fd = answers.text ? helper_file() : -1 };
	if (questions.fd < 0)
		return "no memory for questions";
	ask(&questions);
	if (!questions.has_failed)
		status = helper_run(path, env, questions.fd, helper_keep, &answers);
	syscall(SYS_close, questions.fd);
	take_answers(answers.text);
	return reason(status);
}

unsigned symbols_get(uintptr_t word, const struct symbol **frames)
{
	static struct symbol unknown;
	/* Without memory for the table nothing is in it. */
	const struct wanted *w = word && symbols.n ? place_of(word) : NULL;

	if (!w || !w->word) {
		unknown.pc = modules_pc(word);
		*frames = &unknown;
		return 1;
	}
	*frames = w->frames;
	return w->nframes;
}
