/* mmap_hostile.c: mappings that can't be read: PROT_NONE, a file cut short after mapping. What was
 * lost is found all the same.
 *
 * leaks: direct 48/1 lose
 */
#include <sys/mman.h>

#include "tests/corpus/corpus.h"

#define FILE_BYTES (1 << 20)

static void *mapped[3];

static NOINLINE void lose(void)
{
	block(48);
}

static void map_truncated(int flags, void **into)
{
	FILE *file = tmpfile();

	CHECK(file && ftruncate(fileno(file), FILE_BYTES) == 0);
	*into = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, flags, fileno(file), 0);
	CHECK(*into != MAP_FAILED);
	CHECK(ftruncate(fileno(file), 4096) == 0);
	fclose(file);
}

int main(void)
{
	map_truncated(MAP_SHARED, &mapped[0]);
	map_truncated(MAP_PRIVATE, &mapped[1]);
	mapped[2] = mmap(NULL, FILE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(mapped[2] != MAP_FAILED);
	apart(lose);
	return 0;
}
