/* symbols.c: addresses of code, in words.
 *
 * Reached from leaks_report.c and suppress.c with the world running: dl_iterate_phdr and dladdr take
 * the loader's lock. Depends on helper.h and scratch.h. One lookup at a time.
 *
 * A return address stands behind its call, which may be the last instruction of a function or a
 * line: what is looked up is the byte before it.
 */
#include "scan/symbols.h"

#include "scan/helper.h"
#include "scan/scratch.h"

#include "core/report.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

#define WANTED_SHIFT 17
#define WANTED (1u << WANTED_SHIFT)
#define WANTED_MAX (WANTED / 2)
#define FRAMES_MAX (1u << 18)
#define NAMES_BYTES MIB(4)
#define ANSWERS_BYTES MIB(32)

struct wanted {
	uintptr_t pc;                           /* 0: this place is free */
	uintptr_t at;                           /* the byte looked up */
	uint32_t  nframes;
	bool      is_entry;
	struct symbol own;                      /* what the process knows by itself */
	const struct symbol *frames;
};

static struct scratch wanted_memory, list_memory, frame_memory, name_memory, answer_memory;

static struct {
	struct wanted *table;                   /* by hash of pc */
	uint32_t *list;                         /* places in use, in the order they were asked for */
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
static struct wanted *place_of(uintptr_t pc)
{
	uint32_t i = (uint32_t)(pc * UINT64_C(0x9e3779b97f4a7c15) >> (64 - WANTED_SHIFT));

	while (symbols.table[i].pc && symbols.table[i].pc != pc)
		i = (i + 1) % WANTED;
	return &symbols.table[i];
}

void symbols_want(uintptr_t pc, bool is_entry)
{
	struct wanted *w = pc ? place_of(pc) : NULL;

	if (!w || w->pc || symbols.n == WANTED_MAX)
		return;
	w->pc = pc;
	w->is_entry = is_entry;
	w->at = is_entry ? pc : pc - 1;
	w->own.pc = w->at;
	w->frames = &w->own;
	w->nframes = 1;
	symbols.list[symbols.n++] = (uint32_t)(w - symbols.table);
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

/* The program's own name is empty there. /proc/self is too once the main thread has ended. */
static const char *module_name(const char *name)
{
	static char self[4096];
	ssize_t n;

	if (*name)
		return keep(name);
	n = readlink("/proc/thread-self/exe", self, sizeof self - 1);
	self[n > 0 ? n : 0] = '\0';
	return n > 0 ? keep(self) : NULL;
}

static bool is_in(const struct dl_phdr_info *info, uintptr_t p)
{
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_LOAD && p - (info->dlpi_addr + ph->p_vaddr) < ph->p_memsz)
			return true;
	}
	return false;
}

static int note_module(struct dl_phdr_info *info, size_t size, void *arg)
{
	const char *name = NULL;

	(void)size;
	(void)arg;
	for (uint32_t i = 0; i < symbols.n; i++) {
		struct wanted *w = &symbols.table[symbols.list[i]];

		if (!is_in(info, w->at))
			continue;
		if (!name)
			name = module_name(info->dlpi_name);
		w->own.module = name;
		w->own.offset = w->at - info->dlpi_addr;
	}
	return 0;
}

/* Of several names for one function of the malloc family the loader tells any. */
static const char *usual_name(const char *name)
{
	static const char *const heads[] = { "__libc_", "__" };

	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
		if (!strncmp(name, heads[i], strlen(heads[i])))
			return name + strlen(heads[i]);
	}
	return name;
}

static void note_function(struct wanted *w)
{
	Dl_info info;

	if (w->own.module && dladdr((void *)w->at, &info) && info.dli_sname)
		w->own.function = keep(w->is_entry ? usual_name(info.dli_sname) : info.dli_sname);
}

/* --- what the helper knows --- */

/* "MODULE OFFSET": of what lies in a module whose name has no newline. */
static bool is_asked(const struct wanted *w)
{
	return w->own.module && w->own.module[0] == '/' && !w->is_entry
	       && !strchr(w->own.module, '\n');
}

static void ask(int fd)
{
	for (uint32_t i = 0; i < symbols.n; i++) {
		const struct wanted *w = &symbols.table[symbols.list[i]];
		struct text t = { 0 };
		const char *name = w->own.module;

		if (!is_asked(w))
			continue;
		for (size_t left = strlen(name); left;) {
			size_t n = left < sizeof t.buf ? left : sizeof t.buf;

			memcpy(t.buf, name, n);
			t.len = n;
			text_flush(&t, fd);
			name += n;
			left -= n;
		}
		text_str(&t, " ");
		text_hex(&t, w->own.offset);
		text_newline(&t);
		text_flush(&t, fd);
	}
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
		              .offset = w->own.offset, .pc = w->at };
	symbols.nframes++;
	return true;
}

static void take_answers(char *answers)
{
	for (uint32_t i = 0; i < symbols.n && *answers; i++) {
		struct wanted *w = &symbols.table[symbols.list[i]];
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

void symbols_run(const char *path, char **env)
{
	int fd;

	dl_iterate_phdr(note_module, NULL);
	for (uint32_t i = 0; i < symbols.n; i++)
		note_function(&symbols.table[symbols.list[i]]);
	if (!path || !symbols.n)
		return;

	char *answers = scratch_take(&answer_memory, ANSWERS_BYTES);

	fd = answers ? helper_questions() : -1;
	if (fd < 0)
		return;
	ask(fd);
	helper_run(path, env, fd, answers, ANSWERS_BYTES - 1);  /* what follows is zero */
	close(fd);
	take_answers(answers);
}

unsigned symbols_get(uintptr_t pc, const struct symbol **frames)
{
	static const struct symbol unknown;
	const struct wanted *w = pc ? place_of(pc) : NULL;

	if (!w || !w->pc) {
		*frames = &unknown;
		return 1;
	}
	*frames = w->frames;
	return w->nframes;
}
