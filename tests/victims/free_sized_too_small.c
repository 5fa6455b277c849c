/* free_sized_too_small.c: a size whose blocks are of a smaller class.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: size mismatch of 0x[0-9a-f]+ in free_sized\(\): (1|100|40000) given, block has [0-9]+
 * variants: SIZE=4000 GIVEN=1 | SIZE=30000 GIVEN=100 | SIZE=3000000 GIVEN=40000
 */
#include "tests/victims/victims.h"

int main(void)
{
	void (*free_sized)(void *, size_t) = (void (*)(void *, size_t))symbol("free_sized");
	char *p = hide(malloc(victim_size(4000)));

	misuse_of(p);
	free_sized(p, strtoull(getenv("GIVEN"), NULL, 0));
	return survived();
}
