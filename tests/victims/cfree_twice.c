/* cfree_twice.c: cfree of a freed block; the name lives on in old binaries only.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: double free of 0x[0-9a-f]+ in cfree\(\)
 */
#include "tests/victims/victims.h"

int main(void)
{
	void (*cfree)(void *) = (void (*)(void *))symbol("cfree");
	char *p = hide(malloc(48));

	free(p);
	misuse_of(p);
	cfree(p);
	return survived();
}
