/* cfree_interior.c: cfree of a pointer into a block.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in cfree\(\): interior pointer, 16 bytes into a block of 48 at 0x[0-9a-f]+
 */
#include "tests/victims/victims.h"

int main(void)
{
	void (*cfree)(void *) = (void (*)(void *))symbol("cfree");
	char *p = hide(calloc(1, 48));

	misuse_of(p + 16);
	cfree(p + 16);
	return survived();
}
