/* report.c: the formatter to its limits, every form of a misuse line, and how it ends. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "core/hooks.h"
#include "core/knobs.h"
#include "core/report.h"
#include "tests/unit/capture.h"

/* core/report.h calls up through them. */
struct hooks hooks;

#define P ((const void *)0x7f0012345678)

static struct text t;

static void expect_text(const char *expected)
{
	cr_assert_eq(t.len, strlen(expected), "%.*s", (int)t.len, t.buf);
	cr_assert(!memcmp(t.buf, expected, t.len), "%.*s", (int)t.len, t.buf);
}

Test(report, numbers_at_both_ends)
{
	text_dec(&t, 0);
	text_str(&t, " ");
	text_dec(&t, UINT64_MAX);
	text_str(&t, " ");
	text_hex(&t, 0);
	text_str(&t, " ");
	text_hex(&t, UINT64_MAX);
	expect_text("0 18446744073709551615 0x0 0xffffffffffffffff");
}

Test(report, columns_are_padded_but_never_cut)
{
	text_left(&t, "abc", 5);
	text_right(&t, "de", 4);
	text_dec_width(&t, 7, 3);
	text_dec_width(&t, 12345, 3);
	text_left(&t, "toolong", 2);
	text_right(&t, "toolong", 2);
	expect_text("abc    de  712345toolongtoolong");
}

Test(report, strings_of_the_program_stay_on_one_line)
{
	text_foreign(&t, "a\nb\x1b[1m\x7f\xc3~", 100);
	text_foreign(&t, "12345", 3);
	expect_text("a?b?[1m??~123");
}

Test(report, a_text_too_long_is_cut)
{
	for (size_t i = 0; i < sizeof t.buf - 1; i++)
		text_str(&t, "x");
	text_str(&t, "yz");
	cr_assert_eq(t.len, sizeof t.buf);
	cr_assert_eq(t.buf[sizeof t.buf - 1], 'y');
	text_dec_width(&t, 1, 1000);
	cr_assert_eq(t.len, sizeof t.buf);
}

Test(report, a_line_that_is_cut_still_ends)
{
	for (size_t i = 0; i < sizeof t.buf; i++)
		text_str(&t, "x");
	text_newline(&t);
	cr_assert_eq(t.len, sizeof t.buf);
	cr_assert_eq(t.buf[sizeof t.buf - 1], '\n');
}

Test(report, a_flushed_text_is_empty_and_errno_kept)
{
	text_str(&t, "nobody reads this");
	errno = ERANGE;
	text_flush(&t, -1);
	cr_assert_eq(t.len, 0);
	cr_assert_eq(errno, ERANGE);
}

Test(report, a_line_is_one_write)
{
	struct capture c;
	char got[1000];

	capture_begin(&c);
	report_line("one ", "two", NULL);
	cr_assert_eq(capture_end(&c, got, sizeof got), 1);
	cr_assert_str_eq(got, "spangc: one two\n");
}

static int pipe_ends[2];
static volatile sig_atomic_t ndrained;

static void drain(int signo)
{
	static char junk[70000];

	(void)signo;
	ndrained++;
	(void)!read(pipe_ends[0], junk, sizeof junk);
}

/* The pipe is full, so the write sleeps until a handler without SA_RESTART interrupts it. */
Test(report, an_interrupted_write_is_repeated)
{
	struct sigaction act = { .sa_handler = drain };
	struct itimerval often = { { 0, 20000 }, { 0, 20000 } };
	char c, last = 0;

	cr_assert_eq(pipe(pipe_ends), 0);
	fcntl(pipe_ends[1], F_SETFL, O_NONBLOCK);
	while (write(pipe_ends[1], "x", 1) == 1)
		;
	fcntl(pipe_ends[1], F_SETFL, 0);
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	text_str(&t, "end!");
	text_flush(&t, pipe_ends[1]);
	setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
	close(pipe_ends[1]);
	while (read(pipe_ends[0], &c, 1) == 1)
		last = c;
	cr_assert_eq(last, '!');
	cr_assert(ndrained > 0);
}

/* In a child: the line it wrote, and how it ended. */
static int misuse_in_child(char *got, size_t size, void (*prepare)(void), enum misuse what,
                           const struct misuse_detail *d)
{
	struct capture c;
	pid_t child;
	int status;

	capture_begin(&c);
	child = fork();
	if (child == 0) {
		if (prepare)
			prepare();
		report_misuse(what, P, "free", d);
		_exit(0);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(capture_end(&c, got, size), 1, "%s", got);
	sprintf(got + size / 2, "==%d==", (int)child);
	cr_assert(!strncmp(got, got + size / 2, strlen(got + size / 2)), "%s", got);
	return status;
}

static void expect_misuse(enum misuse what, const struct misuse_detail *d, const char *expected)
{
	char got[1200], line[500];
	int status = misuse_in_child(got, sizeof got, NULL, what, d);

	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	sprintf(line, "==ERROR: spangc: %s\n", expected);
	cr_assert_str_eq(strstr(got, "==ERROR"), line);
}

Test(report, each_misuse_has_its_line)
{
	expect_misuse(MISUSE_DOUBLE_FREE, NULL, "double free of 0x7f0012345678 in free()");
	expect_misuse(MISUSE_INVALID_FREE, NULL, "invalid free of 0x7f0012345678 in free()");
	expect_misuse(MISUSE_INVALID_FREE, &(struct misuse_detail){ .what = "stack address" },
	              "invalid free of 0x7f0012345678 in free(): stack address");
	expect_misuse(MISUSE_INVALID_FREE,
	              &(struct misuse_detail){ .what = "interior pointer", .block_bytes = 48,
	                                       .block = (const char *)P - 16 },
	              "invalid free of 0x7f0012345678 in free(): interior pointer, "
	              "16 bytes into a block of 48 at 0x7f0012345668");
	expect_misuse(MISUSE_SIZE_MISMATCH,
	              &(struct misuse_detail){ .block_bytes = 48, .given_bytes = 4096 },
	              "size mismatch of 0x7f0012345678 in free(): 4096 given, block has 48");
}

static void ignore_signal(int signo)
{
	(void)signo;
}

static void resist(void)
{
	sigset_t all;

	signal(SIGABRT, ignore_signal);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
}

Test(report, a_program_that_handles_and_blocks_the_signal_dies_of_it_too)
{
	char got[1200];
	int status = misuse_in_child(got, sizeof got, resist, MISUSE_DOUBLE_FREE, NULL);

	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void only_warn(void)
{
	knobs.misuse = KNOB_MISUSE_WARN;
}

Test(report, a_warning_lets_the_program_go_on)
{
	char got[1200];
	int status = misuse_in_child(got, sizeof got, only_warn, MISUSE_DOUBLE_FREE, NULL);

	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	cr_assert_str_eq(strstr(got, "==WARNING"),
	                 "==WARNING: spangc: double free of 0x7f0012345678 in free()\n");
}

Test(report, a_failed_check_dies, .signal = SIGABRT)
{
	check(errno == -1);
}

Test(report, a_check_that_holds_does_nothing)
{
	check(errno != -1);
}
