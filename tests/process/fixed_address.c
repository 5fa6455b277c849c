/* fixed_address.c: a program linked to a fixed address that takes the addresses of malloc and free
 * has entries of its own for them, which any look-up by name finds in the library's place. They
 * lead to the library all the same: no half takeover, and nothing is handed on to the program's malloc, for
 * it has none: a wrong size is told.
 *   leaks: a slot holds less than in mode malloc
 */
#include "tests/process/build_and_run.h"

static const char text[] =
	"#include <malloc.h>\n"
	"#include <stdlib.h>\n"
	"#include <string.h>\n"
	"void *(*volatile get)(size_t);\n"
	"void (*volatile put)(void *);\n"
	"extern void free_sized(void *, size_t) __attribute__((weak));\n"
	"int main(int argc, char **argv)\n"
	"{\n"
	"	get = malloc;\n"
	"	put = free;\n"
	"	for (size_t nbytes = 1; nbytes < 1 << 20; nbytes *= 2) {\n"
	"		put(realloc(get(nbytes), nbytes * 3));\n"
	"		free(memset(memalign(64, nbytes), 1, nbytes));\n"
	"	}\n"
	"	if (argc > 1)\n"
	"		free_sized(get(100), 50);\n"
	"	return malloc_usable_size(get(33)) == 48 ? 0 : 3;\n"
	"}\n";

int main(void)
{
	struct built b;
	struct outcome o, wrong;
	bool is_built = build(&b, text, "-no-pie", "-fno-pic");

	if (is_built) {
		char *argv[] = { b.program, NULL, NULL };

		run_program(&o, argv, NULL);
		argv[1] = "wrong";
		run_program(&wrong, argv, NULL);
	}
	remove_built(&b);
	if (!is_built)
		SKIP("no compiler for programs at a fixed address here");
	CHECKF(ended_well(&o) && o.nlines == 0, "%x %s", (unsigned)o.status, o.err);
	CHECKF(WIFSIGNALED(wrong.status) && WTERMSIG(wrong.status) == SIGABRT
	       && strstr(wrong.err, "size mismatch"), "%x %s", (unsigned)wrong.status, wrong.err);
	return 0;
}
