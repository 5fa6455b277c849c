/* global.c: a variable of the program. glibc: "free(): invalid pointer".
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): not from this heap.*
 */
#include "tests/victims/victims.h"

int main(void)
{
	static _Alignas(16) char variable[64];
	char *p = hide(variable);

	misuse_of(p);
	free(p);
	return survived();
}
