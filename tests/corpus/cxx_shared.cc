/* cxx_shared.cc: two objects that hold each other by shared_ptr; and a pair of which one is weak,
 * which is none. Counters, 16 bytes, and the object lie in one block.
 *
 * leaks: direct 96/1 make; indirect 96/1 make
 */
#include <memory>

#include "tests/corpus/corpus.h"

struct Node {
	std::shared_ptr<Node> strong;
	std::weak_ptr<Node>   weak;
	long                  payload[6];
};

static NOINLINE std::shared_ptr<Node> make(void)
{
	return std::make_shared<Node>();
}

static NOINLINE void lose(void)
{
	std::shared_ptr<Node> a = make(), b = make(), c = make(), d = make();

	a->strong = b;
	b->strong = a;
	c->strong = d;
	d->weak = c;
}

int main()
{
	apart(lose);
	return 0;
}
