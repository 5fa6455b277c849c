/* gc_trace.c: what mode gc tells about itself, and that its settings do what they say: SPANGC_GC_TRACE's
 * lines have Go's form, their numbers go up, and SPANGC_STATS=1 and spangc_stats_get() count the same
 * cycles; more percent is fewer cycles, off is none; SPANGC_GC_PERIOD collects in an idle program;
 * SPANGC_GC_FREE=ignore makes garbage of what is freed; SPANGC_GC_DIRTY is the line's last word.
 *   leaks: it sets the mode itself
 */
#include "tests/process/process.h"

#include <regex.h>

#include "preload/spangc.h"

#define NUMBER "[0-9]+(\\.[0-9]+)?"
#define LINE                                                                                       \
	"^gc ([0-9]+) @" NUMBER "s [0-9]+%: " NUMBER "\\+" NUMBER "\\+" NUMBER " ms clock, "       \
	NUMBER "\\+" NUMBER "/" NUMBER "/0\\+" NUMBER " ms cpu, "                                  \
	"[0-9]+->[0-9]+->[0-9]+ MB, ([0-9]+ MB|no) goal, [0-9]+ P, (minor, )?(forced, )?"          \
	"(uffd|mprotect|snapshot|stw)$"

static const char *const *settings;             /* of the child, ended by NULL */
static FILE *told;

static void prepare(void)
{
	static const char *const ours[] = { "PERCENT", "PERIOD", "DIRTY", "FREE", "TRACE" };
	char name[50];

	for (size_t i = 0; i < COUNT(ours); i++) {
		snprintf(name, sizeof name, "SPANGC_GC_%s", ours[i]);
		unsetenv(name);
	}
	unsetenv("SPANGC_STATS");
	putenv((char *)(uintptr_t) "SPANGC_MODE=gc");
	for (const char *const *s = settings; *s; s++)
		putenv((char *)(uintptr_t)*s);
	CHECK(dup2(fileno(told), 2) == 2);
}

/* What this program, run with `arg` and the settings (ended by NULL), says on stderr. */
static const char *run(const char *arg, const char *const *with)
{
	static char text[1 << 20];
	struct outcome o;
	ssize_t n;

	told = tmpfile();
	CHECK(told);
	settings = with;
	run_self(&o, arg, prepare);
	n = pread(fileno(told), text, sizeof text - 1, 0);
	CHECK(n >= 0);
	fclose(told);
	text[n] = '\0';
	CHECKF(ended_well(&o), "%s: %x\n%s", arg, (unsigned)o.status, text);
	return text;
}

#define RUN(arg, ...) run(arg, (const char *const[]){ __VA_ARGS__, NULL })

/* Lines of cycles in the text; each has the form, and the next number. `must` is in all of them. */
static unsigned cycles(const char *text, const char *must)
{
	regex_t form;
	unsigned n = 0;

	CHECK(regcomp(&form, LINE, REG_EXTENDED) == 0);
	for (const char *p = text; *p; p += strcspn(p, "\n") + 1) {
		char line[500];
		regmatch_t part[2];

		if (strncmp(p, "gc ", 3) != 0)
			continue;
		snprintf(line, sizeof line, "%.*s", (int)strcspn(p, "\n"), p);
		CHECKF(regexec(&form, line, 2, part, 0) == 0, "%s", line);
		CHECKF(strtoul(line + part[1].rm_so, NULL, 10) == ++n, "%u: %s", n, line);
		CHECKF(strstr(line, must), "%s: %s", must, line);
	}
	regfree(&form);
	return n;
}

static unsigned long long figure(const char *text, const char *row)
{
	const char *p = strstr(text, row);

	CHECKF(p, "no row '%s' in\n%s", row, text);
	return strtoull(p + strlen(row), NULL, 10);
}

/* --- the child --- */

static size_t stats(struct spangc_stats *s)
{
	size_t (*get)(struct spangc_stats *, size_t) =
		(size_t (*)(struct spangc_stats *, size_t))symbol("spangc_stats_get");

	return get(s, sizeof *s);
}

/* 200 MB in blocks of 1000 bytes, of which the last 100 are held. */
static int churn(bool frees)
{
	static void *kept[100];

	for (unsigned i = 0; i < 200000; i++) {
		void **slot = &kept[i % COUNT(kept)];

		if (frees)
			free(*slot);
		*slot = hide(malloc(1000));
		CHECK(*slot);
		memset(*slot, 1, 1000);
	}
	return 0;
}

static int count_all(void)
{
	struct spangc_stats s;
	uint64_t npauses = 0;

	churn(false);
	CHECK(stats(&s) == sizeof s);
	CHECK(s.gc_full_cycles + s.gc_minor_cycles >= 3 && s.gc_failed_cycles == 0);
	CHECK(s.gc_reclaimed_bytes > 20 * MIB(1) && s.gc_reclaimed_blocks * 1000 <= s.gc_reclaimed_bytes);
	CHECK(s.gc_marked_bytes > 0 && s.gc_read_bytes > 0);
	CHECK(s.gc_cpu_ns > 0 && s.gc_pauses > 0 && s.gc_pause_ns >= s.gc_pause_max_ns);
	for (unsigned i = 0; i < SPANGC_NPAUSES; i++)
		npauses += s.gc_pause_counts[i];
	CHECK(npauses >= s.gc_pauses);
	return 0;
}

/* For two cycles, or where none is to come for a while. */
static int idle(void)
{
	struct spangc_stats s = { 0 };
	unsigned patience = strcmp(getenv("SPANGC_GC_PERIOD"), "0") == 0 ? 150 : 6000;

	for (unsigned i = 0; i < patience && s.gc_full_cycles + s.gc_minor_cycles < 2; i++) {
		sleep_ms(10);
		stats(&s);
	}
	return 0;
}

/* --- the tests --- */

static void the_lines_are_go_s(void)
{
	const char *text = RUN("count", "SPANGC_GC_TRACE=1", "SPANGC_STATS=1");
	unsigned n = cycles(text, "");

	CHECKF(n >= 3, "%s", text);
	CHECKF(figure(text, "gc     cycles_full ") + figure(text, "gc     cycles_minor ") == n, "%s", text);
	CHECK(figure(text, "gc     reclaimed_bytes ") > 20 * MIB(1));
	CHECK(figure(text, "gc     stops ") >= n);
	CHECK(strstr(text, "STATS: spangc: pause "));
	CHECK(!*RUN("count", "SPANGC_GC_TRACE=0"));
	CHECK(!strstr(RUN("free", "SPANGC_MODE=malloc", "SPANGC_STATS=1"), ": gc "));
}

static void percent_counts(void)
{
	unsigned few = cycles(RUN("churn", "SPANGC_GC_TRACE=1", "SPANGC_GC_PERCENT=1000"), "goal");
	unsigned many = cycles(RUN("churn", "SPANGC_GC_TRACE=1", "SPANGC_GC_PERCENT=25"), "goal");

	CHECKF(many > 2 * few, "%u, %u", few, many);
	CHECK(!*RUN("churn", "SPANGC_GC_TRACE=1", "SPANGC_GC_PERCENT=off"));
}

static void the_period_collects(void)
{
	const char *text = RUN("idle", "SPANGC_GC_TRACE=1", "SPANGC_GC_PERIOD=50ms", "SPANGC_GC_PERCENT=off");

	CHECKF(cycles(text, "forced") >= 2, "%s", text);
	CHECK(!*RUN("idle", "SPANGC_GC_TRACE=1", "SPANGC_GC_PERIOD=0"));
}

static void free_can_be_ignored(void)
{
	unsigned honoured = cycles(RUN("free", "SPANGC_GC_TRACE=1", "SPANGC_GC_FREE=honor"), "");
	unsigned ignored = cycles(RUN("free", "SPANGC_GC_TRACE=1", "SPANGC_GC_FREE=ignore"), "");

	CHECKF(honoured == 0 && ignored >= 3, "%u, %u", honoured, ignored);
}

static void the_way_is_the_last_word(void)
{
	CHECK(cycles(RUN("churn", "SPANGC_GC_TRACE=1", "SPANGC_GC_DIRTY=stw"), " P, stw") >= 3);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "count") == 0)
		return count_all();
	if (argc > 1 && strcmp(argv[1], "idle") == 0)
		return idle();
	if (argc > 1)
		return churn(strcmp(argv[1], "free") == 0);
	the_lines_are_go_s();
	percent_counts();
	the_period_collects();
	free_can_be_ignored();
	the_way_is_the_last_word();
	return 0;
}
