/* gc_limit.c: mode gc holds SPANGC_MEMORY_LIMIT against a program that frees nothing, where its goal by
 * percent lies above it; and a limit below what lives does not keep the program from going on. 40 MiB
 * more are the program, its libraries, tables, and what is taken until the collector gets a processor.
 */
#include "tests/process/process.h"
#include "tests/process/peak.h"

#define LIMIT MIB(80)
#define OVERSHOOT MIB(40)
#define NHELD 20000
#define NMADE 400000
#define BLOCK_BYTES 1000

static void set_limit(void)
{
	setenv("SPANGC_MODE", "gc", 1);
	setenv("SPANGC_GC_PERCENT", "1000", 1);
	setenv("SPANGC_MEMORY_LIMIT", limit, 1);
}

/* 20 MB that stay, 400 MB that do not. */
static int work(void)
{
	static unsigned *held[NHELD];

	for (unsigned i = 0; i < NHELD + NMADE; i++) {
		unsigned *p = hide(malloc(BLOCK_BYTES));

		CHECK(p);
		memset(p, 1, BLOCK_BYTES);
		*p = i;
		if (i < NHELD)
			held[i] = p;
	}
	for (unsigned i = 0; i < NHELD; i++)
		CHECK(*held[i] == i);
	dprintf(2, "peak %zu\n", proc_bytes("/proc/self/status", "VmHWM"));
	return 0;
}

int main(int argc, char **argv)
{
	size_t with, without;

	(void)argv;
	if (argc > 1)
		return work();
	with = peak_with("80M");
	without = peak_with("off");
	CHECKF(without > LIMIT + 2 * OVERSHOOT, "%zu: the test can't tell", without);
	CHECKF(with < LIMIT + OVERSHOOT, "%zu", with);
	with = peak_with("10M");
	CHECKF(with < without, "%zu, %zu", with, without);
	return 0;
}
