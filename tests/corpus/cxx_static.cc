/* cxx_static.cc: objects of the program itself, of a function and of a thread free what they hold
 * when they end.
 *
 * leaks: none
 */
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "tests/corpus/corpus.h"

static std::vector<std::string> names;
static thread_local std::string own_name;

static NOINLINE void use(void)
{
	static std::unordered_map<std::string, std::vector<int>> table;

	for (int i = 0; i < 100; i++) {
		names.push_back(std::string(50 + i, 'x'));
		table[names.back()] = std::vector<int>(i);
	}
	own_name.assign(100, 'y');
}

int main()
{
	apart(use);
	std::thread([] { own_name.assign(200, 'z'); }).join();
	return 0;
}
