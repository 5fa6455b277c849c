/* memory_limit.c: a heap that is large and nearly all free stays resident without
 * SPANGC_MEMORY_LIMIT, and at the limit with it. 12 MiB more are the program, its libraries and
 * what the library may overshoot.
 */
#include "tests/process/idle_heaps.h"

#define LIMIT MIB(80)
#define OVERSHOOT MIB(12)

static const char *limit;

static void set_limit(void)
{
	setenv("SPANGC_RELEASE_DELAY", "10s", 1);
	setenv("SPANGC_MEMORY_LIMIT", limit, 1);
}

/* RSS at its highest, of a child with that limit. */
static size_t peak_with(const char *value)
{
	struct outcome o;
	const char *said;

	limit = value;
	run_self(&o, "child", set_limit);
	CHECKF(ended_well(&o), "%s: %x %s", value, (unsigned)o.status, o.err);
	said = strstr(o.err, "peak ");
	CHECKF(said, "%s", o.err);
	return strtoull(said + 5, NULL, 10);
}

int main(int argc, char **argv)
{
	size_t with, without;

	if (argc > 1) {
		dprintf(2, "peak %zu\n", run_idle_heaps());
		check_heap_works();
		return 0;
	}
	(void)argv;
	without = peak_with("off");
	with = peak_with("80M");
	printf("peak %zu KiB without a limit, %zu with 80 MiB\n", without / KIB(1), with / KIB(1));
	CHECKF(without > MIB(200), "%zu", without);
	CHECKF(with < LIMIT + OVERSHOOT, "%zu", with);
	return 0;
}
