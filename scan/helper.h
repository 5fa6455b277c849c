/* helper.h: another program at work for a report: symbols.py, pprof.py. */
#ifndef SCAN_HELPER_H
#define SCAN_HELPER_H

#include "core/base.h"

/* A file in memory; -1: refused. ctx: any */
int helper_file(void);

/* Takes a piece of output. False: no more of it. */
typedef bool helper_take_fn(const char *text, size_t nbytes, void *arg);

/* Runs the program `path` with the file `in` as its standard input, and gives up on it after a minute
 * of silence. LD_* and SPANGC_* of `env` are left out. Its exit status, -1 if it was not heard to its
 * end. The program that we are in is sent no SIGCHLD and can't wait for it. ctx: any */
int helper_run(const char *path, char **env, int in, helper_take_fn *take, void *arg);

/* A `take` that keeps the first `max` bytes. */
struct helper_answers {
	char *text;
	size_t len, max;
};

bool helper_keep(const char *text, size_t nbytes, void *answers);

#endif
