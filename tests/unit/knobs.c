/* knobs.c: every kind of setting, good, bad and at its edges; and what is said about it. */
#include <signal.h>
#include <criterion/criterion.h>
#include <stdio.h>

#include "core/hooks.h"
#include "core/knobs.h"
#include "tests/unit/capture.h"

/* core/report.h calls up through them. */
struct hooks hooks;

#define PATH_MESSAGE "must be stderr or a path, % only in %p %e %n %%; using stderr"

static struct knobs defaults;
static char said[8000];

static void remember_defaults(void)
{
	defaults = knobs;
}

/* Reads the settings (ended by NULL) over the defaults. Returns the number of writes. */
static int read_settings(char **settings, bool is_secure)
{
	struct capture c;

	knobs = defaults;
	capture_begin(&c);
	knobs_read(settings, is_secure);
	return capture_end(&c, said, sizeof said);
}

static int read_one(const char *setting)
{
	return read_settings((char *[]){ (char *)setting, NULL }, false);
}

static void expect(const char *setting, const uint64_t *value, uint64_t expected)
{
	cr_assert_eq(read_one(setting), 0, "%s", said);
	cr_assert_eq(*value, expected, "%s", setting);
}

/* One line in one write, and nothing has changed. */
static void expect_refused(const char *setting, const char *message)
{
	char line[1000];

	cr_assert_eq(read_one(setting), 1, "%s: %s", setting, said);
	sprintf(line, "spangc: %s: %s\n", setting, message);
	cr_assert_str_eq(said, line);
	cr_assert(!memcmp(&knobs, &defaults, sizeof knobs), "%s", setting);
}

TestSuite(knobs, .init = remember_defaults);

/* Of each row of the table: the first word of `values`, read as a setting, is the default. */
Test(knobs, the_first_value_is_the_default)
{
	char setting[100];

#define KNOB(name, field, kind, dflt, values, help)                                          \
	sprintf(setting, "SPANGC_%s=%.*s", #name, (int)strcspn(values, " "), values);        \
	defaults.field = 77;                                                                 \
	expect(setting, &knobs.field, dflt);                                                 \
	defaults.field = dflt;
#include "core/knobs.def"
#undef KNOB
}

Test(knobs, words)
{
	expect("SPANGC_MADVISE=dontneed", &knobs.madvise, KNOB_MADVISE_DONTNEED);
	expect("SPANGC_MADVISE=free", &knobs.madvise, KNOB_MADVISE_FREE);
	expect("SPANGC_MADVISE=none", &knobs.madvise, KNOB_MADVISE_NONE);
	expect("SPANGC_BACKGROUND=off", &knobs.background, KNOB_BACKGROUND_OFF);
	expect("SPANGC_MIN_ALIGN=16", &knobs.min_align, KNOB_MIN_ALIGN_16);
	expect("SPANGC_MIN_ALIGN=8", &knobs.min_align, KNOB_MIN_ALIGN_8);
	expect("SPANGC_THP=always", &knobs.thp, KNOB_THP_ALWAYS);
	expect("SPANGC_THP=never", &knobs.thp, KNOB_THP_NEVER);
	expect("SPANGC_MISUSE=warn", &knobs.misuse, KNOB_MISUSE_WARN);
	expect("SPANGC_MODE=malloc", &knobs.mode, KNOB_MODE_MALLOC);
}

Test(knobs, words_are_whole_words)
{
	const char *message = "must be one of dontneed free none; using dontneed";

	expect_refused("SPANGC_MADVISE=foo", message);
	expect_refused("SPANGC_MADVISE=", message);
	expect_refused("SPANGC_MADVISE=dont", message);
	expect_refused("SPANGC_MADVISE=freer", message);
	expect_refused("SPANGC_MADVISE=FREE", message);
	expect_refused("SPANGC_MADVISE= free", message);
	expect_refused("SPANGC_MADVISE=free none", message);
}

Test(knobs, flags)
{
	expect("SPANGC_STATS=0", &knobs.stats, 0);
	expect("SPANGC_STATS=1", &knobs.stats, 1);
	expect("SPANGC_VERIFY=1", &knobs.verify, 1);
	expect_refused("SPANGC_STATS=2", "must be one of 0 1; using 0");
	expect_refused("SPANGC_STATS=yes", "must be one of 0 1; using 0");
}

Test(knobs, a_path_is_copied)
{
	char setting[] = "SPANGC_REPORT=/tmp/%e.%p.%n.%%", *environ[] = { setting, NULL };
	static char brim[sizeof "SPANGC_REPORT=" + KNOB_PATH_BYTES] = "SPANGC_REPORT=";

	knobs_read(environ, false);
	memset(setting, 'x', sizeof setting - 1);
	cr_assert_str_eq((const char *)(uintptr_t)knobs.report, "/tmp/%e.%p.%n.%%");
	knobs = defaults;
	memset(brim + strlen(brim), 'a', KNOB_PATH_BYTES - 1);
	environ[0] = brim;
	knobs_read(environ, false);
	cr_assert_eq(strlen((const char *)(uintptr_t)knobs.report), KNOB_PATH_BYTES - 1);
	knobs = defaults;
	brim[strlen(brim)] = 'a';
	cr_assert_eq(read_one(brim), 1);
	cr_assert_eq(knobs.report, 0, "one byte too long");
	expect_refused("SPANGC_REPORT=", PATH_MESSAGE);
	expect_refused("SPANGC_REPORT=50%", PATH_MESSAGE);
	expect_refused("SPANGC_REPORT=%d", PATH_MESSAGE);
	expect("SPANGC_REPORT=stderr", &knobs.report, 0);
}

Test(knobs, sizes)
{
	const uint64_t *limit = &knobs.memory_limit_bytes;

	expect("SPANGC_MEMORY_LIMIT=off", limit, KNOB_OFF);
	expect("SPANGC_MEMORY_LIMIT=0", limit, 0);
	expect("SPANGC_MEMORY_LIMIT=1", limit, 1);
	expect("SPANGC_MEMORY_LIMIT=3K", limit, 3 * 1024);
	expect("SPANGC_MEMORY_LIMIT=512M", limit, MIB(512));
	expect("SPANGC_MEMORY_LIMIT=7G", limit, GIB(7));
	expect("SPANGC_MEMORY_LIMIT=007", limit, 7);
	expect("SPANGC_MEMORY_LIMIT=18446744073709551613", limit, UINT64_MAX - 2);
	expect("SPANGC_MEMORY_LIMIT=17179869183G", limit, UINT64_C(17179869183) << 30);
}

Test(knobs, a_size_may_have_a_word_for_its_default)
{
	expect("SPANGC_STACKS=512K", &knobs.stacks, KIB(512));
	expect("SPANGC_STACKS=all", &knobs.stacks, KNOB_STACKS_ALL);
	expect("SPANGC_STACKS=off", &knobs.stacks, KNOB_OFF);
	expect_refused("SPANGC_MEMORY_LIMIT=all", "must be off or a size like 512M (K M G); using off");
	expect_refused("SPANGC_STACKS=some",
	               "must be one of all off or a size like 512M (K M G); using all");
}

Test(knobs, sizes_that_are_none)
{
	static const char *const bad[] = {
		"", "-1", "+1", " 1", "1 ", "1.5G", "K", "1KB", "1k", "1T", "0x10", "1s", "never",
		"18446744073709551615",                 /* the number that stands for off */
		"18446744073709551614",                 /* and auto */
		"18446744073709551616", "99999999999999999999999", "17179869184G",
	};
	char setting[100];

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		sprintf(setting, "SPANGC_MEMORY_LIMIT=%s", bad[i]);
		expect_refused(setting, "must be off or a size like 512M (K M G); using off");
	}
}

Test(knobs, times)
{
	const uint64_t *delay = &knobs.release_delay_ms;

	expect("SPANGC_RELEASE_DELAY=0", delay, 0);
	expect("SPANGC_RELEASE_DELAY=0s", delay, 0);
	expect("SPANGC_RELEASE_DELAY=1ms", delay, 1);
	expect("SPANGC_RELEASE_DELAY=20s", delay, 20000);
	expect("SPANGC_RELEASE_DELAY=2m", delay, 120000);
	expect("SPANGC_RELEASE_DELAY=never", delay, KNOB_NEVER);
	expect("SPANGC_RELEASE_DELAY=18446744073709551613ms", delay, UINT64_MAX - 2);
}

Test(knobs, times_that_are_none)
{
	static const char *const bad[] = {
		"", "1", "s", "0h", "0 ", "-1s", "1.5s", "1h", "1 s", "1sm", "1M", "off",
		"nevermore",
		"18446744073709551615ms", "18446744073709551616ms", "307445734561825861m",
	};
	char setting[100];

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		sprintf(setting, "SPANGC_RELEASE_DELAY=%s", bad[i]);
		expect_refused(setting, "must be a time like 500ms (ms s m), 0, never; using auto");
	}
}

Test(knobs, modes)
{
	expect("SPANGC_MODE=malloc", &knobs.mode, KNOB_MODE_MALLOC);
	expect("SPANGC_MODE=leaks", &knobs.mode, KNOB_MODE_LEAKS);
	expect("SPANGC_MODE=gc", &knobs.mode, KNOB_MODE_GC);
}

Test(knobs, numbers_have_bounds)
{
	expect("SPANGC_STACK_DEPTH=1", &knobs.stack_depth, 1);
	expect("SPANGC_STACK_DEPTH=255", &knobs.stack_depth, 255);
	expect("SPANGC_EXITCODE=0", &knobs.exitcode, 0);
	expect_refused("SPANGC_STACK_DEPTH=0", "must be a number in 1-255; using 32");
	expect_refused("SPANGC_STACK_DEPTH=256", "must be a number in 1-255; using 32");
	expect_refused("SPANGC_EXITCODE=1x", "must be a number in 0-255; using 0");
	expect_refused("SPANGC_EXITCODE=", "must be a number in 0-255; using 0");
	expect_refused("SPANGC_SUPPRESSIONS=", "must be none or a path; using none");
}

Test(knobs, a_number_may_be_left_to_the_library)
{
	expect("SPANGC_GC_WORKERS=auto", &knobs.gc_workers, 0);
	expect("SPANGC_GC_WORKERS=1", &knobs.gc_workers, 1);
	expect("SPANGC_GC_WORKERS=32", &knobs.gc_workers, 32);
	knobs = defaults;
	expect_refused("SPANGC_GC_WORKERS=0", "must be auto or a number in 1-32; using auto");
	expect_refused("SPANGC_GC_WORKERS=33", "must be auto or a number in 1-32; using auto");
	expect_refused("SPANGC_STACK_DEPTH=auto", "must be a number in 1-255; using 32");
}

Test(knobs, signals)
{
	static const char *const bad[] = { "", "0", "9", "KILL", "STOP", "SIGSEGV", "11", "32", "33", "65",
		                           "usr2", "USR", "SIG", "-1", "12x", "SIGSIGUSR2" };
	const uint64_t *signo = &knobs.report_signal;
	char setting[100];

	expect("SPANGC_REPORT_SIGNAL=USR2", signo, SIGUSR2);
	expect("SPANGC_REPORT_SIGNAL=SIGUSR1", signo, SIGUSR1);
	expect("SPANGC_REPORT_SIGNAL=12", signo, 12);
	expect("SPANGC_REPORT_SIGNAL=64", signo, 64);
	expect("SPANGC_REPORT_SIGNAL=HUP", signo, SIGHUP);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		sprintf(setting, "SPANGC_REPORT_SIGNAL=%s", bad[i]);
		expect_refused(setting, "must be off or a signal like USR2 that is for programs to use; "
		                        "using off");
	}
}

Test(knobs, a_period_may_be_off)
{
	expect("SPANGC_REPORT_EVERY=1s", &knobs.report_every_ms, 1000);
	expect("SPANGC_REPORT_EVERY=off", &knobs.report_every_ms, KNOB_NEVER);
	expect_refused("SPANGC_REPORT_EVERY=on", "must be a time like 500ms (ms s m), 0, off; using off");
	expect_refused("SPANGC_REPORT_EVERY=auto",
	               "must be a time like 500ms (ms s m), 0, off; using off");
}

Test(knobs, a_socket_is_on_or_an_absolute_path)
{
	static const char message[] = "must be off, on or an absolute path, % only in %p %e %%; using off";

	expect("SPANGC_CONTROL=on", &knobs.control, KNOB_CONTROL_ON);
	cr_assert_eq(read_one("SPANGC_CONTROL=/run/x.%p"), 0);
	cr_assert_str_eq((const char *)(uintptr_t)knobs.control, "/run/x.%p");
	expect_refused("SPANGC_CONTROL=x", message);
	expect_refused("SPANGC_CONTROL=", message);
	expect_refused("SPANGC_CONTROL=/x.%d", message);
}

Test(knobs, the_collector_s)
{
	static const char percent[] = "must be off or a number in 1-1000000; using 100";
	static const char dirty[] = "must be one of auto uffd mprotect snapshot stw; using auto";

	expect("SPANGC_GC_PERCENT=1", &knobs.gc_percent, 1);
	expect("SPANGC_GC_PERCENT=1000000", &knobs.gc_percent, 1000000);
	expect("SPANGC_GC_PERCENT=off", &knobs.gc_percent, KNOB_OFF);
	expect_refused("SPANGC_GC_PERCENT=0", percent);
	expect_refused("SPANGC_GC_PERCENT=1000001", percent);
	expect_refused("SPANGC_GC_PERCENT=-1", percent);
	expect_refused("SPANGC_GC_PERCENT=", percent);
	expect_refused("SPANGC_GC_PERCENT=auto", percent);
	expect_refused("SPANGC_GC_PERCENT=100%", percent);
	expect("SPANGC_GC_PERIOD=10s", &knobs.gc_period_ms, 10000);
	expect("SPANGC_GC_PERIOD=0", &knobs.gc_period_ms, KNOB_NEVER);
	expect_refused("SPANGC_GC_PERIOD=10", "must be a time like 500ms (ms s m), 0, never; using 2m");
	expect("SPANGC_GC_DIRTY=uffd", &knobs.gc_dirty, KNOB_GC_DIRTY_UFFD);
	expect("SPANGC_GC_DIRTY=mprotect", &knobs.gc_dirty, KNOB_GC_DIRTY_MPROTECT);
	expect("SPANGC_GC_DIRTY=snapshot", &knobs.gc_dirty, KNOB_GC_DIRTY_SNAPSHOT);
	expect("SPANGC_GC_DIRTY=stw", &knobs.gc_dirty, KNOB_GC_DIRTY_STW);
	expect_refused("SPANGC_GC_DIRTY=fork", dirty);
	expect("SPANGC_GC_FREE=ignore", &knobs.gc_free, KNOB_GC_FREE_IGNORE);
	expect_refused("SPANGC_GC_FREE=honour", "must be one of honor ignore; using honor");
	expect("SPANGC_GC_TRACE=1", &knobs.gc_trace, 1);
	expect_refused("SPANGC_GC_TRACE=2", "must be one of 0 1; using 0");
	expect_refused("SPANGC_STACK_DEPTH=off", "must be a number in 1-255; using 32");
}

/* Elsewhere the default is all. */
Test(knobs, mode_gc_keeps_stacks_only_if_told)
{
	expect("SPANGC_MODE=gc", &knobs.stacks, KNOB_OFF);
	expect("SPANGC_MODE=leaks", &knobs.stacks, KNOB_STACKS_ALL);
	cr_assert_eq(read_settings((char *[]){ "SPANGC_STACKS=all", "SPANGC_MODE=gc", NULL }, false), 0);
	cr_assert_eq(knobs.stacks, KNOB_STACKS_ALL);
}

Test(knobs, an_unknown_name_is_told_with_the_known_ones)
{
	const char *message = "no such variable; ignored; there are SPANGC_*:"
#define KNOB(name, field, kind, dflt, values, help) " " #name
#include "core/knobs.def"
#undef KNOB
		;

	expect_refused("SPANGC_STAT=1", message);
	expect_refused("SPANGC_STATSX=1", message);
	expect_refused("SPANGC_=1", message);
	expect_refused("SPANGC_stats=1", message);
}

Test(knobs, other_variables_are_not_ours)
{
	char *settings[] = { "PATH=/bin", "SPANGCSTATS=1", "XSPANGC_STATS=1", "spangc_STATS=1",
	                     "SPANGC", "", "=", "SPANGC_STATS", NULL };

	cr_assert_eq(read_settings(settings, false), 0, "%s", said);
	cr_assert(!memcmp(&knobs, &defaults, sizeof knobs));
}

Test(knobs, of_equal_names_the_first_counts)
{
	char *good_first[] = { "SPANGC_MADVISE=free", "X=1", "SPANGC_MADVISE=none", NULL };
	char *bad_first[] = { "SPANGC_MADVISE=foo", "SPANGC_MADVISE=none", NULL };
	char *bad_later[] = { "SPANGC_MADVISE=free", "SPANGC_MADVISE=foo", NULL };

	cr_assert_eq(read_settings(good_first, false), 0);
	cr_assert_eq(knobs.madvise, KNOB_MADVISE_FREE);
	cr_assert_eq(read_settings(bad_first, false), 1);
	cr_assert_eq(knobs.madvise, KNOB_MADVISE_DONTNEED);
	cr_assert_eq(read_settings(bad_later, false), 0);
	cr_assert_eq(knobs.madvise, KNOB_MADVISE_FREE);
}

Test(knobs, several_are_read_and_each_mistake_is_a_line)
{
	char *settings[] = { "SPANGC_STATS=1", "SPANGC_THP=x", "SPANGC_NONE=1",
	                     "SPANGC_MADVISE=free", NULL };

	cr_assert_eq(read_settings(settings, false), 2);
	cr_assert_eq(knobs.stats, 1);
	cr_assert_eq(knobs.madvise, KNOB_MADVISE_FREE);
	cr_assert_eq(knobs.thp, KNOB_THP_DEFAULT);
}

Test(knobs, a_secure_program_has_none)
{
	char *settings[] = { "SPANGC_STATS=1", "SPANGC_THP=x", "SPANGC_NONE=1", NULL };

	cr_assert_eq(read_settings(settings, true), 0);
	cr_assert(!memcmp(&knobs, &defaults, sizeof knobs));
}

Test(knobs, a_hostile_value_is_still_one_line)
{
	char setting[3000] = "SPANGC_MADVISE=\n\x1b";
	size_t len = strlen(setting);

	memset(setting + len, 'x', sizeof setting - 1 - len);
	cr_assert_eq(read_one(setting), 1);
	cr_assert_eq(strchr(said, '\n'), said + strlen(said) - 1);
	cr_assert_null(strchr(said, '\x1b'));
	cr_assert(strstr(said, "using dontneed\n"));
}
