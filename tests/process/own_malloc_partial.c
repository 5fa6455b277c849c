/* own_malloc_partial.c: a program that defines malloc, calloc, realloc and free but not memalign:
 * half a takeover would mix two heaps. One line says so, and the library stands down: its
 * names lead to libc's.
 */
#include "tests/process/process.h"

#include <malloc.h>

static _Alignas(16) char pool[1 << 24];
static size_t used;

static bool is_mine(const void *p)
{
	return (const char *)p >= pool && (const char *)p < pool + sizeof pool;
}

void *malloc(size_t nbytes)
{
	size_t *p;

	used = align_up(used + 16, 16);
	CHECK(nbytes < sizeof pool - used);
	p = (size_t *)(void *)(pool + used);
	p[-1] = nbytes;
	used += nbytes;
	return p;
}

void *calloc(size_t n, size_t nbytes)
{
	return malloc(n * nbytes);
}

/* Foreign blocks are left alone, as such programs do. */
void free(void *p)
{
	(void)p;
}

void *realloc(void *p, size_t nbytes)
{
	void *q = malloc(nbytes);

	if (p)
		memcpy(q, p, ((size_t *)p)[-1] < nbytes ? ((size_t *)p)[-1] : nbytes);
	return q;
}

static int child(void)
{
	char *copy = strdup("mine"), *aligned = memalign(256, 100);

	CHECK(is_mine(copy));
	CHECK(aligned && (uintptr_t)aligned % 256 == 0);
	memset(aligned, 1, 100);
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
	CHECKF(ended_well(&o), "%x %s", (unsigned)o.status, o.err);
	CHECKF(o.nlines == 1 && strncmp(o.err, "spangc: ", 8) == 0, "%s", o.err);
	return 0;
}
