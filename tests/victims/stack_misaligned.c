/* stack_misaligned.c: an odd address on the stack.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): (stack address|misaligned pointer).*
 */
#include "tests/victims/victims.h"

int main(void)
{
	_Alignas(16) char local[64] = { 0 };
	char *p = (char *)hide(local) + 5;

	misuse_of(p);
	free(p);
	return survived();
}
