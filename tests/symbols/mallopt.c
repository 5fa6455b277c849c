/* mallopt.c: every M_ constant of malloc.h is accepted; none of them changes anything. */
#include "tests/check.h"

#include <malloc.h>

int main(void)
{
	static const int names[] = { M_MXFAST, M_NLBLKS, M_GRAIN, M_KEEP, M_TRIM_THRESHOLD,
		M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_CHECK_ACTION, M_PERTURB, M_ARENA_TEST,
		M_ARENA_MAX };

	for (size_t i = 0; i < COUNT(names); i++)
		CHECKF(mallopt(names[i], 1) == 1, "mallopt(%d)", names[i]);
	check_heap_works();
	return 0;
}
