/* never_allocated.c: a slot of a span in use that no malloc has handed out: it looks as
 * one that was freed long ago.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: (double free of 0x[0-9a-f]+ in free\(\)|invalid free of 0x[0-9a-f]+ in free\(\): never allocated.*)
 */
#include "tests/victims/victims.h"

#include <malloc.h>

int main(void)
{
	char *p = hide(malloc(1024));
	size_t step = align_up(malloc_usable_size(p), 16);      /* in mode leaks a record is behind it */

	misuse_of(p + 3 * step);
	free(p + 3 * step);
	return survived();
}
