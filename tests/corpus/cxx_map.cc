/* cxx_map.cc: a map is held, another one is lost: 48 bytes, and a node of 32 + 16 for each of its
 * 100 entries.
 *
 * leaks: direct 48/1 make; indirect 4800/100 make
 */
#include <map>

#include "tests/corpus/corpus.h"

typedef std::map<long, long> Map;

HOLDER Map *held;

static NOINLINE Map *make(void)
{
	Map *map = new Map;

	for (long i = 0; i < 100; i++)
		(*map)[i * 37 % 100] = i;
	return (Map *)hide(map);
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
