/* double_free_zero_bytes.c: malloc(0) is a block like any other.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: double free of 0x[0-9a-f]+ in free\(\)
 */
#include "tests/victims/victims.h"

int main(void)
{
	char *p = hide(malloc(0)), *q = hide(malloc(0));

	CHECK(p != q);
	free(q);
	misuse_of(q);
	free(q);
	return survived();
}
