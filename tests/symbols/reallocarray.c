/* reallocarray.c: realloc with a product that must not overflow. */
#include "tests/check.h"

#include <malloc.h>

int main(void)
{
	unsigned char *p = reallocarray(NULL, 10, 48);

	CHECK(p && malloc_usable_size(p) >= 480);
	pattern_fill(p, 480, 1);
	p = reallocarray(p, 1000, 48);
	CHECK(p && malloc_usable_size(p) >= 48000 && pattern_holds(p, 480, 1));
	errno = 0;
	CHECK(!hide(reallocarray(p, SIZE_MAX / 8 + 1, 8)) && errno == ENOMEM);
	errno = 0;
	CHECK(!hide(reallocarray(p, 2, hide_size(SIZE_MAX))) && errno == ENOMEM);
	errno = 0;
	CHECK(!hide(reallocarray(p, 2, (size_t)PTRDIFF_MAX / 2 + 1)) && errno == ENOMEM);
	errno = 0;
	CHECK(!hide(reallocarray(NULL, SIZE_MAX, SIZE_MAX)) && errno == ENOMEM);
	CHECK(pattern_holds(p, 480, 1));
	CHECK(!hide(reallocarray(p, hide_size(0), 8)));
	p = malloc(10);
	CHECK(!hide(reallocarray(p, 8, hide_size(0))));
	CHECK(hide(reallocarray(NULL, hide_size(0), 8)));
	return 0;
}
