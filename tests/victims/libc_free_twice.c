/* libc_free_twice.c: __libc_free is free under another name.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: double free of 0x[0-9a-f]+ in (__libc_)?free\(\)
 */
#include "tests/victims/victims.h"

int main(void)
{
	void (*libc_free)(void *) = (void (*)(void *))symbol("__libc_free");
	char *p = hide(malloc(48));

	free(p);
	misuse_of(p);
	libc_free(p);
	return survived();
}
