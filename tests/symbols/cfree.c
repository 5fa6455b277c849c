/* cfree.c: the old name of free, in no header any more but in old binaries. */
#include "tests/check.h"

#include <malloc.h>

int main(void)
{
	void (*cfree)(void *) = (void (*)(void *))symbol("cfree");

	errno = 1234;
	cfree(NULL);
	for (size_t nbytes = 1; nbytes < MIB(64); nbytes = nbytes * 2 + 1) {
		cfree(calloc(1, nbytes));
		cfree(memalign(4096, nbytes));
	}
	CHECK(errno == 1234);
	check_heap_works();
	return 0;
}
