/* own_malloc_full.c: a program with a malloc family of its own keeps it, and the library is out
 * of the way without a word: nothing it does reaches this heap, and strdup comes from it too.
 */
#include "tests/process/process.h"

#include <malloc.h>

static _Alignas(4096) char pool[1 << 24];
static size_t used, ncalls;

void *memalign(size_t alignment, size_t nbytes)
{
	size_t *p;

	ncalls++;
	used = align_up(used + 16, alignment < 16 ? 16 : alignment);
	CHECK(nbytes < sizeof pool - used);
	p = (size_t *)(void *)(pool + used);
	p[-1] = nbytes;
	used += nbytes;
	return p;
}

void *malloc(size_t nbytes)
{
	return memalign(16, nbytes);
}

void *calloc(size_t n, size_t nbytes)
{
	return memalign(16, n * nbytes);        /* the pool is used once */
}

void free(void *p)
{
	CHECK(!p || ((char *)p >= pool && (char *)p < pool + sizeof pool));
}

void *realloc(void *p, size_t nbytes)
{
	void *q = malloc(nbytes);

	if (p)
		memcpy(q, p, ((size_t *)p)[-1] < nbytes ? ((size_t *)p)[-1] : nbytes);
	return q;
}

void *aligned_alloc(size_t alignment, size_t nbytes)
{
	return memalign(alignment, nbytes);
}

int posix_memalign(void **p, size_t alignment, size_t nbytes)
{
	*p = memalign(alignment, nbytes);
	return 0;
}

void *valloc(size_t nbytes)
{
	return memalign(4096, nbytes);
}

void *pvalloc(size_t nbytes)
{
	return memalign(4096, align_up(nbytes, 4096));
}

size_t malloc_usable_size(void *p)
{
	return p ? ((size_t *)p)[-1] : 0;
}

static int child(void)
{
	char *copy = strdup("mine"), *text = NULL;
	size_t before = ncalls;

	CHECK(copy >= pool && copy < pool + sizeof pool);
	CHECK(asprintf(&text, "%d", 42) == 2 && text >= pool && text < pool + sizeof pool);
	free(copy);
	free(text);
	CHECK(ncalls > before);
	check_heap_works();
	return 0;
}

int main(int argc, char **argv)
{
	struct outcome o;

	if (argc > 1)
		return child();
	(void)argv;
	run_self(&o, "child", NULL);
	CHECKF(ended_well(&o) && o.nlines == 0, "%x %s", (unsigned)o.status, o.err);
	return 0;
}
