/* leaks_modules.c: the report names functions of libraries that were unloaded, and where a second
 * library was loaded at the addresses of a first one, each stack's functions are those that were
 * there when it was taken.
 *
 * timeout: 120
 *   leaks: it sets the mode itself
 */
#include "tests/process/process.h"

#include <dlfcn.h>

#define SKIPPED 77

static void set_leaks(void)
{
	setenv("SPANGC_MODE", "leaks", 1);
	setenv("SPANGC_STACK_DEPTH", "2", 1);
	unsetenv("SPANGC_REPORT_FORMAT");
}

static __attribute__((noinline)) void wipe(void)
{
	char room[16384];

	memset(room, 0, sizeof room);
	hide(room);
}

/* Where the library was loaded. It loses two blocks, and stays if told so. */
static __attribute__((noinline)) void *use(const char *name, size_t nbytes, bool stays)
{
	void *library = dlopen(beside(name), RTLD_NOW), *at;
	void (*run)(size_t nbytes);

	CHECKF(library, "%s: %s", name, dlerror());
	*(void **)&run = at = dlsym(library, "run");
	CHECK(run);
	run(nbytes);
	run(nbytes);
	if (!stays)
		CHECK(dlclose(library) == 0);
	return at;
}

/* Seven uses in turn, of which the last one stays. */
static int lose(void)
{
	void *first = NULL;

	for (unsigned i = 0; i < 7; i++) {
		void *at = i % 2 ? use("libloses_two.so", 100, false)
		                 : use("libloses_one.so", 30, i == 6);

		if (!first)
			first = at;
		if (at != first)
			return SKIPPED;
		wipe();
	}
	return 0;
}

static void check_entry(const char *report, const char *head, const char *function)
{
	const char *entry = strstr(report, head), *end = entry ? strstr(entry, "\n\n") : NULL;
	const char *found = entry ? strstr(entry, function) : NULL;

	CHECKF(found && end && found < end, "%s of %s: %s", head, function, report);
}

int main(int argc, char **argv)
{
	struct outcome o;

	(void)argv;
	watchdog(100);
	if (argc > 1)
		return lose();
	run_self(&o, "child", set_leaks);
	if (WIFEXITED(o.status) && WEXITSTATUS(o.status) == SKIPPED)
		return SKIPPED;
	CHECKF(ended_well(&o), "%x: %s", (unsigned)o.status, o.err);
	check_entry(o.err, "Direct leak of 240 byte(s) in 8 object(s)", " in loses_one ");
	check_entry(o.err, "Direct leak of 600 byte(s) in 6 object(s)", " in loses_two ");
	return 0;
}
