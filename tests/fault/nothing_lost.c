/* nothing_lost.c: a hundred rounds in which calls fail do not use up memory: what was taken
 * for a request that then was refused must be there for the next.
 *
 * variants: NAME=mmap | NAME=mprotect | NAME=madvise | NAME=mremap
 */
#include "tests/fault/fault.h"

#include "tests/process/process.h"

static size_t address_space(void)
{
	return proc_bytes("/proc/self/status", "VmData");
}

static void round_with_faults(const char *name, long nth)
{
	static struct workload w;

	memset(&w, 0, sizeof w);
	fault_arm(name, nth);
	workload_run(&w);
	fault_arm(name, FAULT_NEVER);
}

int main(void)
{
	const char *name = getenv("NAME");
	size_t rss, data;

	for (long i = 0; i < 10; i++)
		round_with_faults(name, i % 4 ? i : FAULT_EVERY);
	rss = rss_bytes();
	data = address_space();
	for (long i = 0; i < 30; i++)
		round_with_faults(name, i % 4 ? i : FAULT_EVERY);
	CHECKF(rss_bytes() < rss + MIB(32), "RSS %zu, then %zu", rss, rss_bytes());
	CHECKF(address_space() < data + MIB(256), "VmData %zu, then %zu", data, address_space());
	workload_after();
	return 0;
}
