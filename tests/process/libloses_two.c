/* libloses_two.c: for leaks_modules.c: a library that is as large as the other one of that name. */
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) void loses_two(size_t nbytes)
{
	void *p = malloc(nbytes);

	memset(p, 0, nbytes);
	__asm__ volatile("" : : "r"(p) : "memory");
}

void run(size_t nbytes)
{
	loses_two(nbytes);
	__asm__ volatile("" : : : "memory");
}
