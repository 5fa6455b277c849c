/* cxx_array.cc: an array of strings is held by its first element, behind the count that new[]
 * keeps; another one is lost: 8 + 10 * 32 bytes, and 10 texts of 100 + 1.
 *
 * leaks: direct 328/1 make; indirect 1010/10 make
 */
#include <string>

#include "tests/corpus/corpus.h"

HOLDER std::string *held;

static NOINLINE std::string *make(void)
{
	std::string *strings = new std::string[10];

	for (int i = 0; i < 10; i++)
		strings[i].assign(100, 'a' + i);
	return (std::string *)hide(strings);
}

static NOINLINE void lose(void)
{
	held = make();
	make();
}

int main()
{
	apart(lose);
	return 0;
}
