/* cxx_aligned_new.cc: of a type that asks for an alignment of 64.
 *
 * leaks: direct 128/1 lose; direct 576/1 lose_array
 */
#include "tests/corpus/corpus.h"

struct alignas(64) Wide { char bytes[128]; };
struct alignas(64) WideWithEnd { char bytes[128]; ~WideWithEnd() { hide(this); } };

static NOINLINE void lose(void)
{
	hide(new Wide);
}

/* A place for the count comes first, as large as the alignment. */
static NOINLINE void lose_array(void)
{
	hide(new WideWithEnd[4]);
}

int main()
{
	apart(lose);
	apart(lose_array);
	return 0;
}
