/* stats.c: SPANGC_STATS=1 is a table on stderr whose figures are right, also when the program
 * closes stderr first; without it there is silence. SPANGC_VERIFY=1 notices a broken heap at exit.
 * spangc_stats_get() agrees with itself and respects the caller's size.
 *   leaks: the counters go where the report goes
 */
#include "tests/process/process.h"

#include <malloc.h>

#include "preload/spangc.h"

#define SLOTS 5000

static FILE *told;
static const char *variable;

static void into_file(void)
{
	unsetenv("SPANGC_STATS");
	unsetenv("SPANGC_VERIFY");
	unsetenv("SPANGC_MADVISE");
	unsetenv("SPANGC_MIN_ALIGN");
	if (variable)
		setenv(variable, "1", 1);
	CHECK(dup2(fileno(told), 2) == 2);
}

/* What this program says on stderr when run with that argument and variable. */
static const char *run(const char *arg, const char *with, int *status)
{
	static char text[1 << 16];
	struct outcome o;
	ssize_t n;

	told = tmpfile();
	CHECK(told);
	variable = with;
	run_self(&o, arg, into_file);
	n = pread(fileno(told), text, sizeof text - 1, 0);
	CHECK(n >= 0);
	fclose(told);
	text[n] = '\0';
	*status = o.status;
	return text;
}

/* The figure of a row; `column` counts from the name. */
static unsigned long long figure(const char *text, const char *row, unsigned column)
{
	const char *p = strstr(text, row);

	CHECKF(p, "no row '%s' in\n%s", row, text);
	for (p += strlen(row); column; column--) {
		p += strspn(p, " ");
		p += strcspn(p, " ");
	}
	return strtoull(p, NULL, 10);
}

static void every_line_has_its_head(const char *text)
{
	for (const char *p = text; *p; p = strchr(p, '\n') + 1) {
		char *end;

		CHECKF(strncmp(p, "==", 2) == 0, "%.80s", p);
		strtoul(p + 2, &end, 10);
		CHECKF(end > p + 2 && strncmp(end, "==STATS: spangc: ", 17) == 0, "%.80s", p);
		CHECK(strncmp(end + 17, "memory ", 7) == 0 || strncmp(end + 17, "class  ", 7) == 0
		      || strncmp(end + 17, "event  ", 7) == 0);
		CHECKF(strchr(p, '\n'), "%.80s", p);
		CHECKF(strcspn(p, "\n") <= 120, "%.140s", p);
	}
}

static void the_parts_add_up(const char *text)
{
	static const char *const part[] = {
		"memory small ", "memory large ", "memory magazines ", "memory windows ",
		"memory partial ", "memory remote ", "memory tails ", "memory free ",
		"memory lazy ", "memory released ", "memory untouched ",
	};
	unsigned long long sum = 0;

	for (size_t i = 0; i < COUNT(part); i++)
		sum += figure(text, part[i], 0);
	CHECKF(sum == figure(text, "memory heap ", 0), "%llu in\n%s", sum, text);
	CHECK(figure(text, "memory reserved ", 0) >= sum);
	CHECK(figure(text, "memory peak ", 0) <= sum);
	CHECK(figure(text, "memory metadata ", 0) > 0);
}

/* The child holds SLOTS blocks of 200 bytes and one of 3 MiB. */
static void the_figures_are_right(const char *text)
{
	unsigned long long used = figure(text, "class    208", 2);

	CHECKF(used >= SLOTS && used < SLOTS + 100, "%llu", used);
	CHECK(figure(text, "class    208", 0) * 315 == figure(text, "class    208", 1));
	CHECK(figure(text, "class    208", 7) == figure(text, "class    208", 0) * 16);
	CHECK(figure(text, "memory large ", 0) >= 3 * MIB(1));
	CHECK(figure(text, "memory small ", 0) >= SLOTS * 208);
	CHECK(figure(text, "event  large ", 0) >= 1);
	CHECK(figure(text, "event  threads ", 0) == 1);
	CHECK(figure(text, "event  dontneed ", 0) >= 1);
	CHECK(figure(text, "event  dontneed ", 1) >= 15 * MIB(1));
	CHECK(figure(text, "event  madvise_ns ", 0) > 0);
	CHECK(figure(text, "event  reused ", 0) >= 3 * MIB(1));
	CHECK(strstr(text, " noscan\n"));
	CHECK(figure(text, "event  records ", 0) >= figure(text, "class    208", 0));
}

static int hold(bool closes_stderr)
{
	void *(*noscan)(size_t) = (void *(*)(size_t))symbol("spangc_malloc_noscan");
	char *gone = malloc(16 * MIB(1));

	CHECK(gone);
	memset(gone, 1, 16 * MIB(1));
	free(gone);
	malloc_trim(0);
	for (unsigned i = 0; i < SLOTS; i++)
		CHECK(hide(malloc(200)));
	CHECK(hide(malloc(3 * MIB(1))) && noscan(50));
	if (closes_stderr)
		fclose(stderr);
	return 0;
}

/* Calls `fn` for each private, writable mapping until it says true. */
static bool find_mapping(bool (*fn)(uintptr_t from, uintptr_t to))
{
	for (const char *line = proc_text("/proc/self/maps"); *line; line = strchr(line, '\n') + 1) {
		char *end;
		uintptr_t from = strtoull(line, &end, 16), to = strtoull(end + 1, &end, 16);

		if (strncmp(end, " rw-p", 5) == 0 && fn(from, to))
			return true;
	}
	return false;
}

static unsigned char *block, *other;                    /* of one class */
static uintptr_t heap_base;

static bool is_heap(uintptr_t from, uintptr_t to)
{
	if ((uintptr_t)block < from || (uintptr_t)block >= to)
		return false;
	heap_base = from;
	return true;
}

/* Is this the table with a byte for each 16 of the heap, which says what is allocated? If so, there
 * is one more block from now on, inside of another. */
static bool break_granules(uintptr_t from, uintptr_t to)
{
	size_t index = ((uintptr_t)block - heap_base) / 16;
	size_t others = (size_t)(other - (unsigned char *)heap_base) / 16;
	volatile unsigned char *byte = (unsigned char *)from + index;
	unsigned char class;

	if (index + 1 >= to - from || others >= to - from || !(class = *byte)
	    || ((unsigned char *)from)[others] != class)
		return false;
	free(block);
	if (*byte || byte[1]) {
		block = malloc(500);
		return false;
	}
	block = hide(malloc(500));
	byte[1] = class;
	return true;
}

static int corrupt(void)
{
	block = hide(malloc(500));
	other = hide(malloc(500));
	CHECK(find_mapping(is_heap) && heap_base % ARENA_BYTES == 0);
	CHECK(find_mapping(break_granules));
	return 0;
}

static void a_broken_heap_is_noticed(void)
{
	const char *text;
	int status;

	text = run("corrupt", NULL, &status);
	CHECKF(status == 0 && !*text, "%d: %s", status, text);
	text = run("corrupt", "SPANGC_VERIFY", &status);
	CHECKF(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%d: %s", status, text);
	CHECKF(strstr(text, "ERROR: spangc: check failed: an allocated block has no slot"), "%s",
	       text);
	text = run("hold", "SPANGC_VERIFY", &status);
	CHECKF(status == 0 && !*text, "%d: %s", status, text);
}

static void the_call_agrees(void)
{
	size_t (*get)(struct spangc_stats *, size_t) =
		(size_t (*)(struct spangc_stats *, size_t))symbol("spangc_stats_get");
	struct spangc_stats a, b, half;
	void *p;

	memset(&half, 0x55, sizeof half);
	CHECK(get(&a, sizeof a) == sizeof a);
	CHECK(a.in_use_bytes + a.cached_bytes + a.free_bytes + a.waste_bytes + a.lazy_bytes
	      + a.released_bytes + a.untouched_bytes == a.heap_bytes);
	p = hide(malloc(5 * MIB(1)));
	CHECK(p);
	get(&b, sizeof b);
	CHECK(b.in_use_bytes == a.in_use_bytes + 5 * MIB(1));
	CHECK(get(&half, 8) == sizeof half && half.in_use_bytes == b.in_use_bytes);
	CHECK(half.cached_bytes == UINT64_C(0x5555555555555555));
	free(p);
}

static void malloc_stats_keeps_errno(void)
{
	int saved = dup(2), null = open("/dev/null", O_WRONLY);

	CHECK(saved >= 0 && null >= 0);
	dup2(null, 2);
	errno = ERANGE;
	malloc_stats();
	CHECK(errno == ERANGE);
	close(2);
	malloc_stats();
	CHECK(errno == ERANGE);
	dup2(saved, 2);
}

int main(int argc, char **argv)
{
	const char *text;
	int status;

	if (argc > 1 && strcmp(argv[1], "corrupt") == 0)
		return corrupt();
	if (argc > 1)
		return hold(strcmp(argv[1], "close") == 0);
	text = run("hold", NULL, &status);
	CHECKF(status == 0 && !*text, "%d: %s", status, text);
	for (unsigned i = 0; i < 2; i++) {
		text = run(i ? "close" : "hold", "SPANGC_STATS", &status);
		CHECK(status == 0);
		every_line_has_its_head(text);
		the_parts_add_up(text);
		the_figures_are_right(text);
	}
	a_broken_heap_is_noticed();
	the_call_agrees();
	malloc_stats_keeps_errno();
	return 0;
}
