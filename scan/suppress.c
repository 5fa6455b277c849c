/* suppress.c: patterns of leaks that are not reported.
 *
 * Reached from leaks_report.c. Depends on stacks.h and symbols.h. The file is kept as it is, its
 * lines ended by zeros.
 */
#include "scan/suppress.h"

#include "core/report.h"
#include "scan/scratch.h"
#include "scan/stacks.h"
#include "scan/symbols.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILE_BYTES MIB(1)
#define PREFIX "leak:"
#define PATTERNS_MAX (FILE_BYTES / sizeof PREFIX)

struct pattern {
	const char *text;                       /* behind the prefix */
	struct leaks_sum sum;                   /* it suppressed */
};

static struct scratch memory, pattern_memory;
static struct pattern *patterns;
static uint32_t npatterns;

static void complain(const char *path, const char *what, const char *line)
{
	struct text t = { 0 };

	text_str(&t, "spangc: SPANGC_SUPPRESSIONS=");
	text_foreign(&t, path, 200);
	text_str(&t, ": ");
	text_str(&t, what);
	text_foreign(&t, line, 100);
	text_newline(&t);
	text_flush(&t, STDERR_FILENO);
}

/* Ends the line at `line`; the next one. */
static char *cut(char *line)
{
	char *end = line + strcspn(line, "\n");
	char *next = end + (*end == '\n');

	while (end > line && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
		end--;
	memset(end, 0, (size_t)(next - end));
	return next;
}

static void take_line(const char *path, const char *line)
{
	if (!*line || *line == '#')
		return;
	if (strncmp(line, PREFIX, sizeof PREFIX - 1) != 0 || !line[sizeof PREFIX - 1])
		complain(path, "not understood, ignored: ", line);
	else if (npatterns < PATTERNS_MAX)
		patterns[npatterns++].text = line + sizeof PREFIX - 1;
}

/* The file, ended by a zero; false: that was said. */
static bool read_file(const char *path, char *text)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	size_t len = 0;
	long n = -1;

	while (fd >= 0 && len < FILE_BYTES - 1
	       && (n = syscall(SYS_read, fd, text + len, FILE_BYTES - 1 - len)) > 0)
		len += (size_t)n;
	if (n < 0)
		complain(path, "can't be read; nothing is suppressed", "");
	else if (len == FILE_BYTES - 1)
		complain(path, "longer than 1 MiB, the rest is ignored", "");
	if (fd >= 0)
		syscall(SYS_close, fd);
	return n >= 0;
}

void suppress_read(const char *path)
{
	char *text = scratch_take(&memory, FILE_BYTES);

	npatterns = 0;
	patterns = scratch_take(&pattern_memory, PATTERNS_MAX * sizeof *patterns);
	if (!text || !patterns) {
		complain(path, "no memory; nothing is suppressed", "");
		return;
	}
	if (!read_file(path, text))
		return;
	while (*text) {
		char *line = text + strspn(text, " \t");

		text = cut(line);
		take_line(path, line);
	}
}

void suppress_drop(void)
{
	npatterns = 0;
	scratch_drop(&memory);
	scratch_drop(&pattern_memory);
}

/* Does `pattern`, in which * is any text, match from the start of `name`? To the end of `name`, if
 * the pattern ends in $; else any rest will do. */
static bool matches_here(const char *pattern, const char *name)
{
	const char *star = NULL, *retry = NULL;

	for (;;) {
		if (*pattern == '*') {
			star = ++pattern;
			retry = name;
		} else if (!*pattern) {
			return true;
		} else if (*pattern == '$' && !pattern[1] && !*name) {
			return true;
		} else if (*name && *pattern == *name) {
			pattern++;
			name++;
		} else if (star && *retry) {
			pattern = star;
			name = ++retry;
		} else {
			return false;
		}
	}
}

static bool matches(const char *pattern, const char *name)
{
	if (!name || !*pattern)
		return false;
	if (*pattern == '^')
		return matches_here(pattern + 1, name);
	for (; *name; name++) {
		if (matches_here(pattern, name))
			return true;
	}
	return false;
}

static bool is_matched(const char *pattern, const struct symbol *s)
{
	return matches(pattern, s->function) || matches(pattern, s->file)
	       || matches(pattern, s->module);
}

/* Frame 0, the function of the malloc family, does not count. */
static bool is_stack_matched(const char *pattern, uint32_t stack)
{
	const uintptr_t *pcs;
	unsigned npcs = stacks_get(stack, &pcs);

	for (unsigned i = 1; i < npcs; i++) {
		const struct symbol *frames;
		unsigned n = symbols_get(pcs[i], &frames);

		for (unsigned f = 0; f < n; f++) {
			if (is_matched(pattern, &frames[f]))
				return true;
		}
	}
	return false;
}

bool suppress_entry(const struct leaks_entry *e)
{
	for (uint32_t i = 0; i < npatterns; i++) {
		if (!is_stack_matched(patterns[i].text, e->stack))
			continue;
		sum_add(&patterns[i].sum, e->sum.nbytes, e->sum.nblocks);
		return true;
	}
	return false;
}

void suppress_visit(void (*fn)(const char *pattern, const struct leaks_sum *sum, void *arg),
                    void *arg)
{
	for (uint32_t i = 0; i < npatterns; i++) {
		if (patterns[i].sum.nblocks)
			fn(patterns[i].text, &patterns[i].sum, arg);
	}
}
