/* twins.c: the __libc_ names reach the same heap as the plain ones. */
#include "tests/check.h"

#include <malloc.h>

typedef void *one_size(size_t);
typedef void *two_sizes(size_t, size_t);
typedef void *resize(void *, size_t);
typedef void release(void *);

/* Two: one may be aligned by chance. No more memory than that takes. */
static void check_aligned(void *p, void *q, size_t align, size_t nbytes)
{
	CHECK(p && (uintptr_t)p % align == 0 && malloc_usable_size(p) >= nbytes);
	CHECK(q && (uintptr_t)q % align == 0 && q != p);
	CHECKF(malloc_usable_size(q) <= 2 * (nbytes + MIB(1) / 64), "%zu", malloc_usable_size(q));
	((release *)symbol("__libc_free"))(p);
	free(q);
}

int main(void)
{
	release *libc_free = (release *)symbol("__libc_free");
	resize *libc_realloc = (resize *)symbol("__libc_realloc");
	two_sizes *libc_memalign = (two_sizes *)symbol("__libc_memalign");
	one_size *libc_valloc = (one_size *)symbol("__libc_valloc");
	one_size *libc_pvalloc = (one_size *)symbol("__libc_pvalloc");

	for (size_t nbytes = 1; nbytes < MIB(20); nbytes = nbytes * 3 + 1) {
		unsigned char *p = ((one_size *)symbol("__libc_malloc"))(nbytes);
		CHECK(p && malloc_usable_size(p) >= nbytes);
		pattern_fill(p, nbytes, 1);
		p = libc_realloc(p, 2 * nbytes);
		CHECK(p && pattern_holds(p, nbytes, 1));
		free(p);
		p = ((two_sizes *)symbol("__libc_calloc"))(1, nbytes);
		CHECK(p && all_zero(p, nbytes));
		p = realloc(p, 3 * nbytes);
		libc_free(p);
		check_aligned(libc_memalign(512, nbytes), libc_memalign(512, nbytes), 512, nbytes);
		check_aligned(libc_valloc(nbytes), libc_valloc(nbytes), 4096, nbytes);
		check_aligned(libc_pvalloc(nbytes), libc_pvalloc(nbytes), 4096,
		              align_up(nbytes, 4096));
		libc_free(malloc(nbytes));
	}
	libc_free(NULL);
	check_heap_works();
	return 0;
}
