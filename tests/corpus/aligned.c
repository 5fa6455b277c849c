/* aligned.c: blocks of every alignment; one of each kind is held.
 *
 * leaks: direct 100/1 of_posix_memalign; direct 192/1 of_aligned_alloc; direct 5000/1 of_memalign; direct 70/1 of_valloc
 */
#include <malloc.h>

#include "tests/corpus/corpus.h"

HOLDER void *held[4];

static NOINLINE void of_posix_memalign(void)
{
	void *p;

	CHECK(posix_memalign(&held[0], 64, 100) == 0);
	CHECK(posix_memalign(&p, 64, 100) == 0);
	hide(p);
}

static NOINLINE void of_aligned_alloc(void)
{
	held[1] = aligned_alloc(32, 192);
	hide(aligned_alloc(32, 192));
}

static NOINLINE void of_memalign(void)
{
	held[2] = memalign(1 << 20, 5000);
	hide(memalign(1 << 20, 5000));
}

static NOINLINE void of_valloc(void)
{
	held[3] = valloc(70);
	hide(valloc(70));
}

int main(void)
{
	apart(of_posix_memalign);
	apart(of_aligned_alloc);
	apart(of_memalign);
	apart(of_valloc);
	return 0;
}
