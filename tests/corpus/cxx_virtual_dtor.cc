/* cxx_virtual_dtor.cc: deleted through a base whose destructor is virtual, as it should be; a
 * constructor threw, and its object went while what it had allocated stayed.
 *
 * leaks: direct 60/1 Thrower
 */
#include <stdexcept>
#include <vector>

#include "tests/corpus/corpus.h"

struct Base { virtual ~Base() { } };
struct Derived : Base { std::vector<int> many = std::vector<int>(100); };

struct Thrower {
	char *text;
	NOINLINE Thrower() : text(static_cast<char *>(block(60)))
	{
		if (text)
			throw std::runtime_error("a message too long to fit into the object");
	}
	~Thrower() { free(text); }
};

static NOINLINE void lose(void)
{
	Base *base = static_cast<Base *>(hide(new Derived));

	delete base;
	try {
		Thrower *thrower = new Thrower;
		delete thrower;
	} catch (const std::exception &) {
	}
}

int main()
{
	apart(lose);
	return 0;
}
