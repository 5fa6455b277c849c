/* cxx_bases.cc: held by pointers to second and virtual bases, which point inside.
 *
 * leaks: none
 */
#include "tests/corpus/corpus.h"

struct First { virtual ~First() { } long first[4]; };
struct Second { virtual ~Second() { } long second[4]; };
struct Both : First, Second { long both[4]; };
struct Virtual : virtual First, virtual Second { long own[4]; };

HOLDER Second *held, *held_virtually;

static NOINLINE void keep(void)
{
	held = new Both;
	held_virtually = new Virtual;
	hide(held);
	hide(held_virtually);
}

int main()
{
	apart(keep);
	return 0;
}
