/* startup.c: the n-th call of a process's life fails, for n = 1, 2, ...: the first ones are
 * the library's own start. Every such process must come up, and allocate or be told ENOMEM.
 *
 * variants: NAME=mmap | NAME=mprotect | NAME=madvise | NAME=munmap
 */
#include "tests/fault/fault.h"

#include "tests/process/process.h"

static char setting[40];

static void arm_by_environment(void)
{
	setenv("FAULT", setting, 1);
}

int main(int argc, char **argv)
{
	struct outcome o;
	static struct workload w;

	if (argc > 1 && strcmp(argv[1], "child") == 0) {
		workload_run(&w);
		workload_after();
		return 0;
	}
	fault_arm("mmap", FAULT_NEVER);
	for (int nth = 0; nth <= 24; nth++) {
		snprintf(setting, sizeof setting, "%s:%d", getenv("NAME"), nth);
		run_self(&o, "child", arm_by_environment);
		CHECKF(ended_well(&o), "FAULT=%s: status %x: %s", setting, (unsigned)o.status,
		       o.err);
	}
	snprintf(setting, sizeof setting, "%s:every", "madvise");
	run_self(&o, "child", arm_by_environment);
	CHECKF(ended_well(&o), "FAULT=%s: status %x: %s", setting, (unsigned)o.status, o.err);
	return 0;
}
