/* valgrind.c: under Valgrind, which has a malloc of its own, the library says one line and stands
 * down; Valgrind still sees each block.
 */
#include "tests/process/process.h"

static size_t lines_of_ours(const char *text)
{
	size_t n = 0;

	for (const char *p = text; (p = strstr(p, "spangc: ")) != NULL; p++)
		n += p == text || p[-1] == '\n';
	return n;
}

int main(int argc, char **argv)
{
	struct outcome o;
	char *version[] = { "valgrind", "--version", NULL };
	char *run[] = { "valgrind", "--trace-children=no", "--error-exitcode=9", argv[0], "child",
		NULL };

	if (argc > 1) {
		free(malloc(12345));
		return 0;
	}
	run_program(&o, version, NULL);
	if (!ended_well(&o))
		SKIP("no valgrind here");
	run_program(&o, run, NULL);
	CHECKF(ended_well(&o), "%x %s", (unsigned)o.status, o.err);
	CHECKF(lines_of_ours(o.err) == 1, "%s", o.err);
	CHECKF(strstr(o.err, "spangc: standing down: Valgrind\n"), "%s", o.err);
	CHECKF(strstr(o.err, "allocs") && !strstr(o.err, " 0 allocs"), "%s", o.err);
	return 0;
}
