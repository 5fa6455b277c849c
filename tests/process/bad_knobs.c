/* bad_knobs.c: a value that is not allowed, or a variable that does not exist, is one line on
 * stderr that names it; the default stands and the program runs. Good values say nothing.
 *   gc: the trace that it asks for is more lines
 */
#include "tests/process/process.h"

static const char *setting;

static void set_it(void)
{
	putenv((char *)(uintptr_t)setting);
}

/* How many lines the setting makes, each of them ours and naming it. */
static size_t lines_about(const char *text)
{
	struct outcome o;

	setting = text;
	run_self(&o, "child", set_it);
	CHECKF(ended_well(&o), "%s: %x %s", text, (unsigned)o.status, o.err);
	if (o.nlines > 0) {
		CHECKF(strncmp(o.err, "spangc: SPANGC_", 15) == 0, "%s", o.err);
		CHECKF(strstr(o.err, strtok(strdup(text), "=")), "%s: %s", text, o.err);
	}
	return o.nlines;
}

int main(int argc, char **argv)
{
	static const char *const bad[] = {
		"SPANGC_MADVISE=foo", "SPANGC_MADVISE=", "SPANGC_MADVISE=dontneedx",
		"SPANGC_MADVISE=Free", "SPANGC_RELEASE_DELAY=x", "SPANGC_RELEASE_DELAY=-1s",
		"SPANGC_RELEASE_DELAY=1h", "SPANGC_RELEASE_DELAY=99999999999999999999s",
		"SPANGC_BACKGROUND=on", "SPANGC_MIN_ALIGN=4", "SPANGC_MIN_ALIGN=16x",
		"SPANGC_MEMORY_LIMIT=10Q", "SPANGC_MEMORY_LIMIT=-5",
		"SPANGC_MEMORY_LIMIT=99999999999G", "SPANGC_THP=sometimes", "SPANGC_MISUSE=ignore",
		"SPANGC_STATS=2", "SPANGC_STATS=yes", "SPANGC_VERIFY=x", "SPANGC_MODE=fast",
		"SPANGC_NO_SUCH_KNOB=1", "SPANGC_=1", "SPANGC_MADVIS=free", "SPANGC_MADVISED=free",
		"SPANGC_REPORT=", "SPANGC_REPORT=/tmp/%x", "SPANGC_REPORT=100%",
		"SPANGC_GC_PERCENT=0", "SPANGC_GC_PERCENT=x", "SPANGC_GC_PERIOD=1",
		"SPANGC_GC_DIRTY=none", "SPANGC_GC_FREE=no", "SPANGC_GC_TRACE=yes",
	};
	static const char *const good[] = {
		"SPANGC_MADVISE=none", "SPANGC_RELEASE_DELAY=0", "SPANGC_RELEASE_DELAY=never",
		"SPANGC_RELEASE_DELAY=250ms", "SPANGC_RELEASE_DELAY=2m", "SPANGC_BACKGROUND=off",
		"SPANGC_MIN_ALIGN=8", "SPANGC_MEMORY_LIMIT=off", "SPANGC_MEMORY_LIMIT=2G",
		"SPANGC_THP=never", "SPANGC_THP=always", "SPANGC_MISUSE=warn", "SPANGC_STATS=0",
		"SPANGC_VERIFY=1", "SPANGC_MODE=malloc", "SPANGCX=1", "NOT_SPANGC_MADVISE=x",
		"SPANGC_REPORT=stderr", "SPANGC_REPORT=/no/%e.%p.%n.100%%",
		"SPANGC_GC_PERCENT=off", "SPANGC_GC_PERCENT=50", "SPANGC_GC_PERIOD=0",
		"SPANGC_GC_DIRTY=stw", "SPANGC_GC_FREE=ignore", "SPANGC_GC_TRACE=1",
	};

	if (argc > 1) {
		check_heap_works();
		return 0;
	}
	(void)argv;
	for (size_t i = 0; i < COUNT(bad); i++)
		CHECKF(lines_about(bad[i]) == 1, "%s", bad[i]);
	for (size_t i = 0; i < COUNT(good); i++)
		CHECKF(lines_about(good[i]) == 0, "%s", good[i]);
	return 0;
}
