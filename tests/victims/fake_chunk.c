/* fake_chunk.c: a forged header as glibc's blocks have: the classic of heap exploits.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): not from this heap.*
 */
#include "tests/victims/victims.h"

int main(void)
{
	static _Alignas(16) struct {
		size_t prev, size;
		char   user[48];
		size_t next_prev, next_size;
	} fake = { 0, 65, { 0 }, 0, 65 };
	char *p = hide(fake.user);

	misuse_of(p);
	free(p);
	return survived();
}
