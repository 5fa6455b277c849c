/* every.c: from some moment on no call of one kind succeeds; then the kernel is willing again.
 *
 * variants: NAME=mmap | NAME=munmap | NAME=mprotect | NAME=madvise | NAME=mremap | NAME=madvise SPANGC_MADVISE=free SPANGC_RELEASE_DELAY=0 | NAME=madvise SPANGC_MADVISE=none
 */
#include "tests/fault/fault.h"

static struct workload w;

int main(void)
{
	const char *name = getenv("NAME");

	workload_run(&w);
	CHECK(w.nrefused == 0);
	for (int round = 0; round < 3; round++) {
		fault_arm(name, FAULT_EVERY);
		memset(&w, 0, sizeof w);
		workload_run(&w);
		if (strcmp(name, "mmap") != 0 && strcmp(name, "mprotect") != 0)
			CHECKF(w.nrefused == 0, "%ld refused for want of %s", w.nrefused, name);
		workload_after();
	}
	printf("%s: %ld calls failed\n", name, fault_hits());
	return 0;
}
