/* knobs.c: reads the SPANGC_ variables into `knobs`.
 *
 * Called once by preload when the library starts: libc may be half alive, hence no getenv, no
 * stdio, no allocation. Depends on report.h and report_file.h.
 *
 * Invariant: the first word of a row's `values` parses to the row's default
 * (tests/unit/knobs.c).
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "core/knobs.h"
#include "core/report.h"
#include "core/report_file.h"

#define PREFIX "SPANGC_"
#define KERNEL_RTMIN 32
#define SHOWN_BYTES 64                          /* of a value, in a message */

enum knob_kind { ENUM, FLAG, SIZE, TIME, COUNT, PATH, FILE, SOCKET, SIGNAL };

struct knob_row {
	const char *name;                       /* after PREFIX */
	uint64_t   *value;
	enum knob_kind kind;
	uint64_t    dflt;
	const char *values;
};

struct knobs knobs = {
#define KNOB(name, field, kind, dflt, values, help) .field = (dflt),
#include "core/knobs.def"
#undef KNOB
};

static const struct knob_row rows[] = {
#define KNOB(name, field, kind, dflt, values, help) { #name, &knobs.field, kind, dflt, values },
#include "core/knobs.def"
#undef KNOB
};

#define NROWS (sizeof rows / sizeof *rows)

_Static_assert(NROWS <= 64, "seen[] is one word");

static size_t word_length(const char *words)
{
	return strcspn(words, " ");
}

static bool parse_word(const char *s, const char *words, uint64_t *value)
{
	for (uint64_t i = 0; *words; i++) {
		size_t len = word_length(words);

		if (!strncmp(s, words, len) && !s[len]) {
			*value = i;
			return true;
		}
		words += len + (words[len] == ' ');
	}
	return false;
}

/* Digits at the front of `s`; `*rest` is what follows. False: none, or the number is too big. */
static bool parse_digits(const char *s, const char **rest, uint64_t *value)
{
	uint64_t n = 0;

	if (*s < '0' || *s > '9')
		return false;
	for (; *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(n, 10, &n)
		    || __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
			return false;
	*rest = s;
	*value = n;
	return true;
}

/* The largest values mean "off", "never" or "auto", so no number may come out as those. */
static bool scale(uint64_t n, uint64_t unit, uint64_t *value)
{
	if (__builtin_mul_overflow(n, unit, &n) || n >= KNOB_AUTO)
		return false;
	*value = n;
	return true;
}

static bool parse_size(const struct knob_row *row, const char *s, uint64_t *value)
{
	static const struct { const char *name; uint64_t bytes; } units[] = {
		{ "", 1 }, { "K", KIB(1) }, { "M", MIB(1) }, { "G", GIB(1) },
	};
	const char *rest;
	uint64_t n;

	if (!strcmp(s, "off")) {
		*value = KNOB_OFF;
		return true;
	}
	if (parse_word(s, row->values, &n) && n == 0) {
		*value = row->dflt;
		return true;
	}
	if (!parse_digits(s, &rest, &n))
		return false;
	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (!strcmp(rest, units[i].name))
			return scale(n, units[i].bytes, value);
	return false;
}

static bool parse_time(const char *s, const char *words, uint64_t *value)
{
	static const struct { const char *name; uint64_t ms; } units[] = {
		{ "ms", 1 }, { "s", 1000 }, { "m", 60000 },
	};
	const char *rest;
	uint64_t n;

	if (!strcmp(s, "never") || (!strcmp(words, s) && (!strcmp(s, "auto") || !strcmp(s, "off")))) {
		*value = *s == 'a' ? KNOB_AUTO : KNOB_NEVER;
		return true;
	}
	if (!parse_digits(s, &rest, &n))
		return false;
	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (!strcmp(rest, units[i].name))
			return scale(n, units[i].ms, value);
	*value = 0;
	return n == 0 && !*rest;
}

/* The lowest and the highest, the last word. */
static const char *count_range(const char *values)
{
	return strrchr(values, ' ') + 1;
}

static bool count_may_be_off(const char *values)
{
	return !strncmp(values + word_length(values), " off ", strlen(" off "));
}

/* `values` is "DEFAULT [off] LOWEST-HIGHEST"; the default may be the word auto, which is 0. */
static bool parse_count(const char *s, const char *values, uint64_t *value)
{
	const char *range = count_range(values), *rest;
	uint64_t n, lowest, highest;

	*value = 0;
	if (!strcmp(s, "auto") && !strncmp(s, values, word_length(values)))
		return true;
	if (!strcmp(s, "off") && count_may_be_off(values)) {
		*value = KNOB_OFF;
		return true;
	}
	if (!parse_digits(range, &range, &lowest) || !parse_digits(range + 1, &range, &highest)
	    || !parse_digits(s, &rest, &n) || *rest || n < lowest || n > highest)
		return false;
	*value = n;
	return true;
}

/* There is one variable of each kind. Programs overwrite their environment: hence a copy. */
static bool parse_path(const struct knob_row *row, const char *s, uint64_t *value)
{
	static char path[KNOB_PATH_BYTES], file[KNOB_PATH_BYTES], socket[KNOB_PATH_BYTES];
	char *copy = row->kind == FILE ? file : row->kind == SOCKET ? socket : path;

	if (parse_word(s, row->values, value))
		return true;
	if (row->kind == SOCKET && *s != '/')
		return false;
	if (row->kind != FILE && !report_file_is_pattern(s))
		return false;
	if (!*s || strlen(s) >= KNOB_PATH_BYTES)
		return false;
	memcpy(copy, s, strlen(s) + 1);
	*value = (uintptr_t)copy;
	return true;
}

/* Not those that no handler gets, that report a fault, or that libc keeps for itself. */
static bool is_for_requests(uint64_t signo)
{
	static const int others[] = { SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP,
		                      SIGSYS, SIGABRT };

	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		if (signo == (uint64_t)others[i])
			return false;
	}
	return signo > 0 && signo <= (uint64_t)SIGRTMAX
	       && (signo < KERNEL_RTMIN || signo >= (uint64_t)SIGRTMIN);
}

/* "USR2", "SIGUSR2", "12", "off" */
static bool parse_signal(const char *s, uint64_t *value)
{
	const char *rest, *name = strncmp(s, "SIG", 3) == 0 ? s + 3 : s;

	*value = 0;
	if (!strcmp(s, "off"))
		return true;
	if (parse_digits(s, &rest, value))
		return !*rest && is_for_requests(*value);
	for (int signo = 1; signo < KERNEL_RTMIN; signo++) {
		const char *known = sigabbrev_np(signo);

		if (known && !strcmp(name, known))
			*value = (uint64_t)signo;
	}
	return is_for_requests(*value);
}

static bool parse(const struct knob_row *row, const char *s, uint64_t *value)
{
	if (row->kind == SIGNAL)
		return parse_signal(s, value);
	if (row->kind == PATH || row->kind == FILE || row->kind == SOCKET)
		return parse_path(row, s, value);
	if (row->kind == COUNT)
		return parse_count(s, row->values, value);
	if (row->kind == SIZE)
		return parse_size(row, s, value);
	if (row->kind == TIME)
		return parse_time(s, row->values, value);
	return parse_word(s, row->values, value);
}

/* "spangc: SPANGC_NAME=VALUE: " */
static void text_setting(struct text *t, const char *setting, size_t name_len)
{
	text_str(t, "spangc: ");
	text_foreign(t, setting, name_len < SHOWN_BYTES ? name_len : SHOWN_BYTES);
	text_foreign(t, setting + name_len, SHOWN_BYTES);
	text_str(t, ": ");
}

static void say_bad_value(const struct knob_row *row, const char *setting, size_t name_len)
{
	struct text t = { 0 };

	text_setting(&t, setting, name_len);
	switch (row->kind) {
	case SIZE:
		text_str(&t, "must be ");
		if (word_length(row->values) < strlen(row->values))
			text_str(&t, "one of ");
		text_str(&t, row->values);
		text_str(&t, " or a size like 512M (K M G)");
		break;
	case TIME:
		text_str(&t, "must be a time like 500ms (ms s m), 0, ");
		text_str(&t, strcmp(row->values, "off") ? "never" : "off");
		break;
	case PATH:
		text_str(&t, "must be stderr or a path, % only in %p %e %n %%");
		break;
	case SOCKET:
		text_str(&t, "must be off, on or an absolute path, % only in %p %e %%");
		break;
	case SIGNAL:
		text_str(&t, "must be off or a signal like USR2 that is for programs to use");
		break;
	case FILE:
		text_str(&t, "must be none or a path");
		break;
	case COUNT:
		text_str(&t, row->values[0] == 'a'           ? "must be auto or a number in "
		             : count_may_be_off(row->values) ? "must be off or a number in "
		                                             : "must be a number in ");
		text_str(&t, count_range(row->values));
		break;
	default:
		text_str(&t, "must be one of ");
		text_str(&t, row->values);
	}
	text_str(&t, "; using ");
	text_foreign(&t, row->values, word_length(row->values));
	text_newline(&t);
	text_flush(&t, STDERR_FILENO);
}

static void say_unknown(const char *setting, size_t name_len)
{
	struct text t = { 0 };

	text_setting(&t, setting, name_len);
	text_str(&t, "no such variable; ignored; there are " PREFIX "*:");
	for (const struct knob_row *row = rows; row < rows + NROWS; row++) {
		text_str(&t, " ");
		text_str(&t, row->name);
	}
	text_newline(&t);
	text_flush(&t, STDERR_FILENO);
}

static const struct knob_row *find(const char *name, size_t len)
{
	for (const struct knob_row *row = rows; row < rows + NROWS; row++)
		if (strlen(row->name) == len && !memcmp(row->name, name, len))
			return row;
	return NULL;
}

/* `setting` is "SPANGC_NAME=VALUE", `name_len` the length before the '='. */
static void apply(const struct knob_row *row, const char *setting, size_t name_len)
{
	uint64_t value;

	if (parse(row, setting + name_len + 1, &value))
		*row->value = value;
	else
		say_bad_value(row, setting, name_len);
}

int knobs_report_format(const char *word)
{
	const struct knob_row *row = find("REPORT_FORMAT", strlen("REPORT_FORMAT"));
	uint64_t value;

	return parse_word(word, row->values, &value) ? (int)value : -1;
}

/* What a default depends on: stacks cost a collector's program more than they tell it. */
static void settle(uint64_t seen)
{
	const struct knob_row *stacks = find("STACKS", strlen("STACKS"));

	if (knobs.mode == KNOB_MODE_GC && !(seen & UINT64_C(1) << (stacks - rows)))
		knobs.stacks = KNOB_OFF;
	if (!knobs.gc_period_ms)
		knobs.gc_period_ms = KNOB_NEVER;
}

void knobs_read(char **environ, bool is_secure)
{
	const size_t prefix_len = sizeof PREFIX - 1;
	uint64_t seen = 0;

	if (is_secure)
		return;
	for (; *environ; environ++) {
		size_t name_len = strcspn(*environ, "=");
		const struct knob_row *row;

		if (strncmp(*environ, PREFIX, prefix_len) != 0 || !(*environ)[name_len])
			continue;
		row = find(*environ + prefix_len, name_len - prefix_len);
		if (!row)
			say_unknown(*environ, name_len);
		else if (!(seen & UINT64_C(1) << (row - rows)))
			apply(row, *environ, name_len);
		if (row)
			seen |= UINT64_C(1) << (row - rows);
	}
	settle(seen);
}
