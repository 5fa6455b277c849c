/* limit_data.c: under RLIMIT_DATA what fits runs, the rest is refused with ENOMEM.
 *   leaks: the table of stacks counts
 */
#include "tests/process/process.h"

static void set_limit(void)
{
	struct rlimit r = { MIB(300), MIB(300) };

	CHECK(setrlimit(RLIMIT_DATA, &r) == 0);
}

static int child(void)
{
	static char *block[400];
	size_t n = 0;

	check_heap_works();
	while (n < COUNT(block) && (block[n] = malloc(MIB(1))) != NULL)
		memset(block[n++], 1, MIB(1));
	CHECKF(n >= 180, "%zu MiB of 300", n);
	CHECKF(n < COUNT(block) && errno == ENOMEM, "%zu MiB, errno %d", n, errno);
	while (n > 0)
		free(block[--n]);
	check_heap_works();
	return 0;
}

int main(int argc, char **argv)
{
	struct outcome o;

	if (argc > 1)
		return child();
	(void)argv;
	run_self(&o, "child", set_limit);
	CHECKF(ended_well(&o) && o.nlines == 0, "%x %s", (unsigned)o.status, o.err);
	return 0;
}
