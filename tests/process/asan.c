/* asan.c: a program built with AddressSanitizer has that tool's malloc: the library says one
 * line, stands down, and the sanitizer still finds its error.
 */
#include "tests/process/build_and_run.h"

static const char text[] =
	"#include <stdlib.h>\n"
	"#include <string.h>\n"
	"int main(int argc, char **argv)\n"
	"{\n"
	"	char *p = strdup(argv[0]);\n"
	"	free(p);\n"
	"	return argc > 1 ? p[0] : 0;\n"
	"}\n";

/* The runtime wants to be first among libraries; that rule of its own is not our subject. */
static void quiet_sanitizer(void)
{
	setenv("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0", 1);
}

int main(void)
{
	struct outcome o;
	struct built b;

	if (!build(&b, text, "-fsanitize=address", "-Wno-use-after-free")) {
		remove_built(&b);
		SKIP("no AddressSanitizer here");
	}
	char *good[] = { b.program, NULL }, *bad[] = { b.program, "bad", NULL };
	run_program(&o, good, quiet_sanitizer);
	CHECKF(ended_well(&o), "%x %s", (unsigned)o.status, o.err);
	CHECKF(o.nlines == 1 && strncmp(o.err, "spangc: ", 8) == 0, "%s", o.err);
	run_program(&o, bad, quiet_sanitizer);
	CHECKF(strstr(o.err, "heap-use-after-free"), "%s", o.err);
	remove_built(&b);
	return 0;
}
