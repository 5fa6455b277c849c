/* own_malloc_full.c: a program with a malloc family of its own keeps it, and the library is out
 * of the way without a word: nothing it does reaches this heap, and strdup comes from it too. So do those
 * of the family that it has not.
 */
#include "tests/process/process.h"

#include <malloc.h>

static _Alignas(4096) char pool[1 << 24];
static size_t used, ncalls;

static bool is_mine(const void *p)
{
	return (const char *)p >= pool && (const char *)p < pool + sizeof pool;
}

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
	CHECK(!p || is_mine(p));
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

size_t malloc_usable_size(void *p)
{
	return p ? ((size_t *)p)[-1] : 0;
}

extern void cfree(void *p) __attribute__((weak));
extern void free_sized(void *p, size_t nbytes) __attribute__((weak));
extern void free_aligned_sized(void *p, size_t alignment, size_t nbytes) __attribute__((weak));

static void check_the_rest(void)
{
	char *p = reallocarray(NULL, 10, 10), *q;

	CHECK(is_mine(p));
	strcpy(p, "kept");
	q = reallocarray(p, 100, 100);
	CHECK(is_mine(q) && q != p && !strcmp(q, "kept"));
	CHECK(!reallocarray(q, SIZE_MAX / 2, 3) && errno == ENOMEM);
	free(q);
	p = pvalloc(5000);
	CHECK(is_mine(p) && (uintptr_t)p % 4096 == 0 && malloc_usable_size(p) == 8192);
	CHECK(cfree && free_sized && free_aligned_sized);
	cfree(p);
	free_sized(malloc(100), 100);
	free_aligned_sized(memalign(64, 100), 64, 100);
}

static int child(void)
{
	char *copy = strdup("mine"), *text = NULL;
	size_t before = ncalls;

	CHECK(is_mine(copy));
	CHECK(asprintf(&text, "%d", 42) == 2 && is_mine(text));
	free(copy);
	free(text);
	CHECK(ncalls > before);
	check_the_rest();
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
