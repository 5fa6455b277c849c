/* leaks_limit.c: in mode leaks a process that has used up its address space, or its data, still gets its
 * report: some memory is kept for it. There may be none left for names.
 *   leaks: it sets the mode itself
 */
#include "tests/process/process.h"

#include <sys/resource.h>

#define NLOST 1000
#define SUMMARY "SUMMARY: spangc: 100000 byte(s) leaked in 1000 allocation(s).\n"

static const char *stacks;
static int resource;
static size_t limit;

static void *volatile held;

static int take_all(void)
{
	void **p;

	while ((p = malloc(100)) != NULL) {
		*p = held;
		held = p;
	}
	CHECK(errno == ENOMEM);
	for (unsigned i = 0; i < NLOST; i++)
		held = *(void **)held;
	return 0;
}

static void set_limit(void)
{
	struct rlimit r = { limit, limit };

	setenv("SPANGC_MODE", "leaks", 1);
	setenv("SPANGC_STACKS", stacks, 1);
	unsetenv("SPANGC_REPORT_FORMAT");
	CHECK(setrlimit(resource, &r) == 0);
}

int main(int argc, char **argv)
{
	static const int resources[] = { RLIMIT_AS, RLIMIT_DATA };
	static const size_t limits[] = { 100, 300 };
	struct outcome o;

	(void)argv;
	if (argc > 1)
		return take_all();
	if (!preloaded_library())
		SKIP("runs with the library only");
	for (size_t i = 0; i < COUNT(resources) * COUNT(limits) * 2; i++) {
		stacks = i % 2 ? "all" : "off";
		resource = resources[i / 2 % 2];
		limit = MIB(limits[i / 4]);
		run_self(&o, "all", set_limit);
		CHECKF(ended_well(&o) && strstr(o.err, SUMMARY), "%d, %zu MiB, stacks %s: %x %s", resource,
		       limit >> 20, stacks, (unsigned)o.status, o.err);
	}
	return 0;
}
