/* past_the_end.c: one past the end of the last block of its page run: never a block itself.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: invalid free of 0x[0-9a-f]+ in free\(\): (interior pointer, .*|never allocated.*|not from this heap.*)
 */
#include "tests/victims/victims.h"

#include <malloc.h>

int main(void)
{
	size_t nbytes = 200000;
	char *p = hide(malloc(nbytes));
	char *end = p + malloc_usable_size(p);

	misuse_of(end);
	free(end);
	return survived();
}
