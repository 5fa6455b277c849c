/* leaks_hidden.c: blocks that a report called leaked, and the program frees or resizes later because it
 * hid their addresses, are named in the next report, with their stack; a block that was never called
 * leaked is not.
 *   leaks: it sets the mode itself
 */
#include "tests/process/process.h"
#include "preload/spangc.h"

#define MASK UINT64_C(0x5a5a5a5a5a5a5a5a)
#define NHIDDEN 5
#define PARAGRAPH " byte(s) in %u object(s) reported as leaked were freed by the program later: " \
                  "a pointer to them is hidden. Allocated from:\n"

static uintptr_t hidden[NHIDDEN];
static void *kept;

static __attribute__((noinline)) void *make(size_t nbytes)
{
	return memset(hide(malloc(nbytes)), 0, nbytes);
}

static __attribute__((noinline)) void make_hidden(void)
{
	static volatile size_t nbytes[NHIDDEN] = { 48, 48, 48, 48, 100000 };

	for (unsigned i = 0; i < NHIDDEN; i++)
		hidden[i] = (uintptr_t)make(nbytes[i]) ^ MASK;
}

static __attribute__((noinline)) void make_kept(void)
{
	kept = make(500);
}

static __attribute__((noinline)) void *found(unsigned i)
{
	return (void *)(hidden[i] ^ MASK);
}

static __attribute__((noinline)) void wipe(void)
{
	char room[32768];

	memset(room, 0, sizeof room);
	hide(room);
}

/* Two freed, one resized where it is, a large one resized; one stays. */
static __attribute__((noinline)) void use_hidden(void)
{
	free(found(0));
	free(found(1));
	hidden[2] = (uintptr_t)realloc(found(2), 47) ^ MASK;
	hidden[4] = (uintptr_t)realloc(found(4), 200000) ^ MASK;
	free(kept);
}

static int hide_some(void)
{
	make_hidden();
	make_kept();
	wipe();
	if (spangc_leak_report)
		spangc_leak_report();
	use_hidden();
	wipe();
	return 0;
}

static void set_leaks(void)
{
	setenv("SPANGC_MODE", "leaks", 1);
	setenv("SPANGC_STACK_DEPTH", "3", 1);
	unsetenv("SPANGC_REPORT_FORMAT");
}

int main(int argc, char **argv)
{
	struct outcome o;
	const char *second, *paragraph;
	char expected[300];

	(void)argv;
	watchdog(100);
	if (argc > 1)
		return hide_some();
	run_self(&o, "child", set_leaks);
	CHECKF(ended_well(&o), "%x: %s", (unsigned)o.status, o.err);
	second = strstr(o.err, "SUMMARY");
	CHECKF(second && strstr(o.err, "hidden. A") > second, "%s", o.err);
	CHECKF(strstr(o.err, "SUMMARY: spangc: 100192 byte(s) leaked in 5 allocation(s)."), "%s", o.err);
	snprintf(expected, sizeof expected, "\n%u" PARAGRAPH, 3 * 48 + 100000, 4);
	paragraph = strstr(second, expected);
	CHECKF(paragraph, "no %s: %s", expected, o.err);
	CHECKF(strstr(paragraph, " in make_hidden "), "%s", o.err);
	CHECKF(!strstr(strstr(paragraph, " in make_hidden "), "hidden. A"), "once: %s", o.err);
	return 0;
}
