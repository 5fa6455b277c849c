/* dlclosed.c: the library has gone, and what it held is lost with its variables. The report still
 * knows its functions.
 *
 * leaks: direct 64/1 library_lose; direct 480/1 library_hold
 * static: no
 */
#include <dlfcn.h>

#include "tests/corpus/corpus.h"

static NOINLINE void run(void)
{
	void *library = dlopen("libdlclosed.so", RTLD_NOW);

	CHECK(library);
	((void (*)(void))(uintptr_t)dlsym(library, "library_run"))();
	CHECK(dlclose(library) == 0);
	CHECK(!dlopen("libdlclosed.so", RTLD_NOW | RTLD_NOLOAD));
}

int main(void)
{
	apart(run);
	return 0;
}
