/* free_aligned_sized_freed.c: free_aligned_sized of a freed block.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: double free of 0x[0-9a-f]+ in free_aligned_sized\(\)
 */
#include "tests/victims/victims.h"

int main(void)
{
	void (*free_aligned_sized)(void *, size_t, size_t) =
		(void (*)(void *, size_t, size_t))symbol("free_aligned_sized");
	char *p = hide(aligned_alloc(64, 128));

	free(p);
	misuse_of(p);
	free_aligned_sized(p, 64, 128);
	return survived();
}
