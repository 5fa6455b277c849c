/* dlopen_lost.c: a library that came by dlopen and stays lost one block, and holds another one.
 *
 * leaks: direct 64/1 library_lose
 * static: no
 */
#include <dlfcn.h>

#include "tests/corpus/corpus.h"

static NOINLINE void run(void)
{
	void *library = dlopen("libdlopen_lost.so", RTLD_NOW);

	CHECK(library);
	((void (*)(void))(uintptr_t)dlsym(library, "library_run"))();
}

int main(void)
{
	apart(run);
	return 0;
}
