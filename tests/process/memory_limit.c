/* memory_limit.c: a heap that is large and nearly all free stays resident without
 * SPANGC_MEMORY_LIMIT, and at the limit with it. 12 MiB more are the program, its libraries and
 * what the library may overshoot.
 */
#include "tests/process/idle_heaps.h"
#include "tests/process/peak.h"

#define LIMIT MIB(80)
#define OVERSHOOT MIB(12)

static void set_limit(void)
{
	setenv("SPANGC_RELEASE_DELAY", "10s", 1);
	setenv("SPANGC_MEMORY_LIMIT", limit, 1);
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
