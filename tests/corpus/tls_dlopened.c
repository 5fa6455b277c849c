/* tls_dlopened.c: held by thread-local variables of a library that came by dlopen: its space is
 * allocated when a thread first uses it. Main's and a living thread's.
 *
 * leaks: none
 * static: no
 */
#include <dlfcn.h>

#include "tests/corpus/corpus.h"

static void (*library_keep)(void);

static void *body(void *unused)
{
	(void)unused;
	library_keep();
	is_ready();
	sleep_forever();
	return NULL;
}

int main(void)
{
	void *library = dlopen("libtls_dlopened.so", RTLD_NOW);

	CHECK(library);
	library_keep = (void (*)(void))(uintptr_t)dlsym(library, "library_keep");
	CHECK(library_keep);
	library_keep();
	start_thread(body);
	return 0;
}
