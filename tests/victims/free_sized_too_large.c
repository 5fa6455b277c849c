/* free_sized_too_large.c: a size that the block cannot have had.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: size mismatch of 0x[0-9a-f]+ in free_sized\(\): (4096|300000|900000000) given, block has [0-9]+
 * variants: SIZE=48 GIVEN=4096 | SIZE=2000 GIVEN=4096 | SIZE=32768 GIVEN=300000 | SIZE=40000 GIVEN=900000000
 */
#include "tests/victims/victims.h"

int main(void)
{
	void (*free_sized)(void *, size_t) = (void (*)(void *, size_t))symbol("free_sized");
	char *p = hide(malloc(victim_size(48)));

	misuse_of(p);
	free_sized(p, strtoull(getenv("GIVEN"), NULL, 0));
	return survived();
}
