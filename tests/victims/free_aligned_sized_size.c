/* free_aligned_sized_size.c: a size that the aligned block cannot have had.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: size mismatch of 0x[0-9a-f]+ in free_aligned_sized\(\): 1000000 given, block has [0-9]+
 */
#include "tests/victims/victims.h"

int main(void)
{
	void (*free_aligned_sized)(void *, size_t, size_t) =
		(void (*)(void *, size_t, size_t))symbol("free_aligned_sized");
	char *p = hide(aligned_alloc(64, 128));

	misuse_of(p);
	free_aligned_sized(p, 64, 1000000);
	return survived();
}
