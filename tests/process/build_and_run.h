/* build_and_run.h: a tiny program made on the spot, for what the Makefile's flags can't express.
 *
 * Nothing here runs under the library but the program itself. A machine without what it needs
 * (a compiler, a sanitizer's runtime) skips.
 */
#ifndef TESTS_BUILD_AND_RUN_H
#define TESTS_BUILD_AND_RUN_H

#include "tests/process/process.h"

#include <sys/stat.h>

/* A directory of our own, and the program in it. */
struct built {
	char directory[PATH_MAX];
	char program[PATH_MAX + 20];
	char source[PATH_MAX + 20];
};

static inline void without_library(void)
{
	unsetenv("LD_PRELOAD");
}

/* cc FLAGS... -o program; false: it could not be built. */
static inline bool build(struct built *b, const char *text, const char *flag,
                         const char *another_flag)
{
	struct outcome o;
	int fd;

	scratch_template(b->directory, sizeof b->directory, "build");
	CHECK(mkdtemp(b->directory));
	CHECK(chmod(b->directory, 0755) == 0);
	snprintf(b->program, sizeof b->program, "%s/program", b->directory);
	snprintf(b->source, sizeof b->source, "%s/program.c", b->directory);
	fd = open(b->source, O_WRONLY | O_CREAT | O_EXCL, 0600);
	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	char *argv[] = { "cc", "-fno-builtin", "-o", b->program, b->source,
		(char *)(uintptr_t)flag, (char *)(uintptr_t)another_flag, NULL };
	run_program(&o, argv, without_library);
	return ended_well(&o);
}

static inline void remove_built(const struct built *b)
{
	unlink(b->program);
	unlink(b->source);
	rmdir(b->directory);
}

#endif
