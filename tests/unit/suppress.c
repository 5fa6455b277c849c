/* suppress.c: LeakSanitizer's patterns, and what is said about a file that is none. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "scan/modules.h"
#include "scan/stacks.h"
#include "scan/suppress.h"
#include "scan/symbols.h"
#include "tests/core.h"
#include "tests/unit/capture.h"

static char path[] = "/tmp/spangc-suppress-XXXXXX";
static char said[2000];

static void write_file(const char *text)
{
	int fd = mkstemp(path);

	cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/* How many lines were said while the patterns were read. */
static int read_patterns(const char *text)
{
	struct capture c;
	int n;

	write_file(text);
	capture_begin(&c);
	suppress_read(path);
	n = capture_end(&c, said, sizeof said);
	remove(path);
	strcpy(path + strlen(path) - 6, "XXXXXX");
	return n;
}

/* A stack of one function of libc's, besides the one of the malloc family. */
static uint32_t strlen_stack(void)
{
	uint32_t stack;

	cr_assert(stacks_start(4) && modules_start());
	stack = stacks_take((void *)malloc, (char *)(void *)getenv + 1);
	cr_assert(symbols_start());
	symbols_want((uintptr_t)getenv + 1, false);
	symbols_run(NULL, NULL);
	return stack;
}

static bool suppresses(const char *pattern)
{
	char line[200];
	uint32_t stack = strlen_stack();

	snprintf(line, sizeof line, "leak:%s\n", pattern);
	cr_assert_eq(read_patterns(line), 0, "%s", said);
	return suppress_entry(&(struct leaks_entry){ .stack = stack });
}

Test(suppress, matches_functions_and_modules_anywhere_in_the_name)
{
	cr_assert(suppresses("getenv"));
	cr_assert(suppresses("ten"));
	cr_assert(suppresses("libc.so"));
	cr_assert_not(suppresses("getenvx"));
	cr_assert_not(suppresses("malloc"), "the function of the malloc family does not count");
}

Test(suppress, knows_stars_and_ends)
{
	cr_assert(suppresses("^getenv$"));
	cr_assert(suppresses("^get*v$"));
	cr_assert(suppresses("g*e*v"));
	cr_assert(suppresses("*"));
	cr_assert(suppresses("/*libc*.6$"));
	cr_assert_not(suppresses("^etenv"));
	cr_assert_not(suppresses("geten$"));
	cr_assert_not(suppresses("g*x"));
}

Test(suppress, takes_comments_blanks_and_ends_of_lines_of_any_kind)
{
	uint32_t stack = strlen_stack();

	cr_assert_eq(read_patterns("# leak:x\n\n\r\n  \nleak:nothing\nleak:getenv \r\nleak:z"), 0,
	             "%s", said);
	cr_assert(suppress_entry(&(struct leaks_entry){ .stack = stack }));
	suppress_drop();
	cr_assert_not(suppress_entry(&(struct leaks_entry){ .stack = stack }));
}

Test(suppress, says_what_it_does_not_understand)
{
	cr_assert_eq(read_patterns("leak:a\nrace:b\nnonsense\nleak:\n"), 3);
	cr_assert(strstr(said, "not understood, ignored: race:b\n"));
	cr_assert(strstr(said, "not understood, ignored: nonsense\n"));
}

Test(suppress, says_that_a_file_can_not_be_read)
{
	struct capture c;

	capture_begin(&c);
	suppress_read("/no/such/file");
	cr_assert_eq(capture_end(&c, said, sizeof said), 1);
	cr_assert_str_eq(said, "spangc: SPANGC_SUPPRESSIONS=/no/such/file: can't be read; nothing is "
	                       "suppressed\n");
	cr_assert_not(suppress_entry(&(struct leaks_entry){ .stack = strlen_stack() }));
}

static struct leaks_sum counted[4];
static char named[4][20];
static unsigned ncounted;

static void note_pattern(const char *pattern, const struct leaks_sum *sum, void *arg)
{
	(void)arg;
	counted[ncounted] = *sum;
	strncpy(named[ncounted++], pattern, sizeof named[0] - 1);
}

Test(suppress, counts_what_each_pattern_suppressed)
{
	uint32_t stack = strlen_stack();

	cr_assert_eq(read_patterns("leak:nothing\n  leak:getenv\nleak:libc.so\n"), 0, "%s", said);
	cr_assert(suppress_entry(&(struct leaks_entry){ .stack = stack, .sum = { 30, 3 } }));
	cr_assert(suppress_entry(&(struct leaks_entry){ .stack = stack, .sum = { 4, 1 } }));
	suppress_visit(note_pattern, NULL);
	cr_assert_eq(ncounted, 1, "the first that matches has it all");
	cr_assert_str_eq(named[0], "getenv");
	cr_assert(counted[0].nbytes == 34 && counted[0].nblocks == 4);
}
