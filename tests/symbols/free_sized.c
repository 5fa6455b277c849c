/* free_sized.c: C23's free_sized and free_aligned_sized with sizes that are right.
 *
 * variants: SPANGC_MADVISE=dontneed | SPANGC_MIN_ALIGN=8
 */
#include "tests/check.h"

#include <malloc.h>

int main(void)
{
	void (*free_sized)(void *, size_t) = (void (*)(void *, size_t))symbol("free_sized");
	void (*free_aligned_sized)(void *, size_t, size_t) =
		(void (*)(void *, size_t, size_t))symbol("free_aligned_sized");

	errno = 1234;
	free_sized(NULL, 0);
	free_sized(NULL, 100);
	free_aligned_sized(NULL, 64, 100);
	for (size_t nbytes = 0; nbytes < MIB(40); nbytes += nbytes < 40000 ? 1 : nbytes / 3) {
		free_sized(hide(malloc(nbytes)), nbytes);
		free_sized(hide(calloc(1, nbytes)), nbytes);
		free_sized(hide(realloc(hide(malloc(nbytes / 2 + 1)), nbytes + 1)), nbytes + 1);
	}
	for (size_t alignment = 8; alignment <= MIB(4); alignment *= 2)
		for (size_t nbytes = 0; nbytes < 300000; nbytes = nbytes * 2 + 1)
			free_aligned_sized(hide(aligned_alloc(alignment, nbytes)), alignment,
			                   nbytes);
	CHECK(errno == 1234);
	check_heap_works();
	return 0;
}
