/* secure.c: in a program with more rights than its caller (AT_SECURE) every SPANGC_ variable is
 * ignored without a word. The loader drops LD_PRELOAD there, so this program is linked.
 */
#include "tests/process/build_and_run.h"

#include <sys/auxv.h>

static const char text[] =
	"#include <stdlib.h>\n"
	"#include <sys/auxv.h>\n"
	"int main(void)\n"
	"{\n"
	"	char *p = malloc(100);\n"
	"	free(p);\n"
	"	return p ? (getauxval(AT_SECURE) ? 0 : 3) : 1;\n"
	"}\n";

static void set_bad_knob(void)
{
	unsetenv("LD_PRELOAD");
	setenv("SPANGC_MADVISE", "foo", 1);
}

int main(void)
{
	const char *library = preloaded_library();
	struct outcome o;
	struct built b;
	char flag[PATH_MAX + 20];

	if (geteuid() != 0 || !library)
		SKIP("needs root, and the library preloaded");
	snprintf(flag, sizeof flag, "-Wl,--no-as-needed,%s,-rpath,%.*s", library,
	         (int)(strrchr(library, '/') - library), library);
	if (!build(&b, text, flag, NULL)) {
		remove_built(&b);
		SKIP("no compiler here");
	}
	char *argv[] = { b.program, NULL };
	run_program(&o, argv, set_bad_knob);
	CHECKF(WEXITSTATUS(o.status) == 3 && o.nlines == 1, "%x %s", (unsigned)o.status, o.err);
	CHECK(chown(b.program, 65534, 65534) == 0 && chmod(b.program, 04755) == 0);
	run_program(&o, argv, set_bad_knob);
	remove_built(&b);
	if (WIFEXITED(o.status) && WEXITSTATUS(o.status) == 127)
		SKIP("the library stands where others may not read: %s", o.err);
	if (WIFEXITED(o.status) && WEXITSTATUS(o.status) == 3)
		SKIP("the setuid bit has no effect here");
	CHECKF(ended_well(&o) && o.nlines == 0, "%x %s", (unsigned)o.status, o.err);
	return 0;
}
