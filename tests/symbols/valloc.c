/* valloc.c: valloc and pvalloc: page aligned, and pvalloc in whole pages. */
#include "tests/check.h"

#include <malloc.h>

static void page_aligned(void *(*allocate)(size_t), size_t nbytes, size_t usable)
{
	unsigned char *p = allocate(hide_size(nbytes));
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	CHECKF(p && (uintptr_t)p % page == 0, "%zu bytes at %p", nbytes, (void *)p);
	CHECKF(malloc_usable_size(p) >= usable, "%zu", nbytes);
	memset(p, 0xa5, malloc_usable_size(p));
	free(p);
}

static void refused(void *(*allocate)(size_t), size_t nbytes)
{
	errno = 0;
	CHECKF(!hide(allocate(hide_size(nbytes))), "%zu", nbytes);
	CHECKF(errno == ENOMEM, "%zu: errno %d", nbytes, errno);
}

int main(void)
{
	static const size_t sizes[] = { 0, 1, 100, 4095, 4096, 4097, 8191, 8192, 8193, 32768,
		32769, 100000, 5000000 };
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (size_t i = 0; i < COUNT(sizes); i++) {
		page_aligned(valloc, sizes[i], sizes[i]);
		page_aligned(pvalloc, sizes[i], align_up(sizes[i], page));
	}
	refused(valloc, SIZE_MAX);
	refused(valloc, (size_t)PTRDIFF_MAX + 1);
	refused(pvalloc, SIZE_MAX);
	refused(pvalloc, SIZE_MAX - page);
	refused(pvalloc, SIZE_MAX - page + 2);
	refused(pvalloc, (size_t)PTRDIFF_MAX + 1);
	return 0;
}
