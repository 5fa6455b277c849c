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

static struct scratch memory;
static size_t file_len;

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

static void check_lines(const char *path, char *text)
{
	while (*text) {
		char *line = text;

		text = cut(line);
		if (*line && *line != '#' && strncmp(line, PREFIX, sizeof PREFIX - 1) != 0)
			complain(path, "not understood, ignored: ", line);
	}
}

void suppress_read(const char *path)
{
	char *text = scratch_take(&memory, FILE_BYTES);
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	long n;

	file_len = 0;
	if (fd < 0 || !text) {
		complain(path, "can't be read; nothing is suppressed", "");
	} else {
		while (file_len < FILE_BYTES - 1
		       && (n = syscall(SYS_read, fd, text + file_len, FILE_BYTES - 1 - file_len)) > 0)
			file_len += (size_t)n;
		if (file_len == FILE_BYTES - 1)
			complain(path, "longer than 1 MiB, the rest is ignored", "");
		check_lines(path, text);
	}
	if (fd >= 0)
		syscall(SYS_close, fd);
}

void suppress_drop(void)
{
	file_len = 0;
	scratch_drop(&memory);
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

static bool is_matched(const struct symbol *s)
{
	const char *text = memory.p;

	for (size_t at = 0; at < file_len; at += strlen(text + at) + 1) {
		const char *pattern = text + at + sizeof PREFIX - 1;

		if (strncmp(text + at, PREFIX, sizeof PREFIX - 1) != 0)
			continue;
		if (matches(pattern, s->function) || matches(pattern, s->file)
		    || matches(pattern, s->module))
			return true;
	}
	return false;
}

bool suppress_stack(uint32_t stack)
{
	const uintptr_t *pcs;
	unsigned npcs = stacks_get(stack, &pcs);

	for (unsigned i = 1; i < npcs; i++) {
		const struct symbol *frames;
		unsigned n = symbols_get(pcs[i], &frames);

		for (unsigned f = 0; f < n; f++) {
			if (is_matched(&frames[f]))
				return true;
		}
	}
	return false;
}
